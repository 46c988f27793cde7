"""Files behind URLs: memory, archives and an S3 server all look alike."""

import pickle
import sys
import threading
import time
import zipfile
from concurrent.futures import Future, ThreadPoolExecutor
from uuid import uuid4

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from heatpose.data.storage import (
    COARSE_TICK,
    FILE,
    FOLDER,
    Storage,
    StorageError,
    concurrently,
    file_name,
    in_order,
    is_url,
    join_url,
    local_path,
    redact,
)

FILES = {
    "up/up_1.npy": b"first",
    "up/clip/up_2.npy": b"second",
    "down/down_1.npy": b"third",
    "notes.txt": b"",
}


@pytest.fixture(params=["memory", "zip", "s3"])
def url(request, tmp_path):
    """The URL of a folder that holds FILES."""
    if request.param == "zip":
        with zipfile.ZipFile(tmp_path / "actions.zip", "w") as archive:
            for path, content in FILES.items():
                archive.writestr(f"actions/{path}", content)
        return f"zip://actions::{tmp_path}/actions.zip"
    if request.param == "s3":
        request.getfixturevalue("s3_server")
    root = {"memory": "memory://", "s3": "s3://poses/"}[request.param] + uuid4().hex
    for path, content in FILES.items():
        put(f"{root}/{path}", content)
    return root


def put(url, content):
    fs, path = fsspec.url_to_fs(url)
    fs.pipe_file(path, content)


@pytest.fixture(params=["memory://", "s3://poses/"])
def writable(request):
    if request.param.startswith("s3"):
        request.getfixturevalue("s3_server")
    return request.param + uuid4().hex


class TestReading:
    def test_everything_is_listed_once_in_the_folder_that_it_is_in(self, url):
        folders = Storage(url).scan()
        listed = {folder: sorted((entry.name, entry.kind) for entry in entries) for folder, entries in folders.items()}
        assert listed == {
            "": [("down", FOLDER), ("notes.txt", FILE), ("up", FOLDER)],
            "down/": [("down_1.npy", FILE)],
            "up/": [("clip", FOLDER), ("up_1.npy", FILE)],
            "up/clip/": [("up_2.npy", FILE)],
        }

    def test_sizes_are_listed(self, url):
        folders = Storage(url).scan()
        sizes = {
            folder + entry.name: entry.size
            for folder, entries in folders.items()
            for entry in entries
            if entry.kind == FILE
        }
        assert sizes == {path: len(content) for path, content in FILES.items()}
        assert Storage(url).size("up/clip/up_2.npy") == len(b"second")

    def test_files_and_parts_of_them(self, url):
        storage = Storage(url)
        assert storage.read("up/up_1.npy") == b"first"
        assert storage.read("up/up_1.npy", 1, 3) == b"ir"
        assert storage.read("up/up_1.npy", 0, 5) == b"first"
        assert storage.read("up/up_1.npy", 2, 2) == b""
        assert storage.read("notes.txt", 0, 0) == b""

    def test_a_url_of_a_file_is_that_file(self, url):
        storage = Storage(join_url(url, "up/up_1.npy"))
        assert (storage.kind(), storage.size(), storage.read(), storage.read("", 1, 3)) == (FILE, 5, b"first", b"ir")

    def test_kinds(self, url):
        assert Storage(url).kind() == FOLDER
        assert Storage(join_url(url, "notes.txt")).kind() == FILE
        with pytest.raises(FileNotFoundError, match=r"No such file or folder: .*nowhere"):
            Storage(join_url(url, "nowhere")).kind()

    def test_what_is_missing_is_named(self, url):
        with pytest.raises(FileNotFoundError, match=r"No such file or folder: .*up/up_9\.npy"):
            Storage(url).read("up/up_9.npy")

    def test_another_process_connects_anew(self, url):
        copy = pickle.loads(pickle.dumps(Storage(url)))
        assert copy.read("up/up_1.npy") == b"first"
        assert str(copy) == url

    def test_a_slash_at_the_end_changes_nothing(self, url):
        if "::" not in url:
            assert Storage(url + "/").scan().keys() == Storage(url).scan().keys()
            assert Storage(url + "/").read("up/up_1.npy") == b"first"


@pytest.mark.parametrize("protocol", ["memory", "s3"])
def test_new_and_removed_files_are_seen(protocol, request):
    if protocol == "s3":
        request.getfixturevalue("s3_server")
    url = f"{protocol}://poses/{uuid4().hex}"
    put(f"{url}/up/1.npy", b"")
    storage = Storage(url)
    assert [entry.name for entry in storage.scan()["up/"]] == ["1.npy"]
    put(f"{url}/up/2.npy", b"x")
    fs, path = fsspec.url_to_fs(f"{url}/up/1.npy")
    fs.rm_file(path)
    assert [(entry.name, entry.size) for entry in storage.scan()["up/"]] == [("2.npy", 1)]
    put(f"{url}/up/2.npy", b"more")
    assert storage.size("up/2.npy") == 4
    storage._fs.ls(storage._root)  # as others in this process do, who share it
    put(f"{url}/down/1.npy", b"x")
    assert storage.scan().keys() == {"", "down/", "up/"}


def test_what_is_no_longer_wanted_is_cancelled():
    futures = [Future() for _ in range(4)]
    futures[0].set_result("first")
    results = in_order(futures.__getitem__, range(4), ahead=3)
    assert next(results) == "first"
    results.close()
    assert [future.cancelled() for future in futures] == [False, True, True, False]


def test_a_file_that_can_still_change_within_a_tick_has_no_stamp(monkeypatch):
    url = f"memory://{uuid4().hex}"
    put(f"{url}/up/1.npy", b"one")  # of a file system without checksums
    (fresh,) = Storage(url).scan()["up/"]
    later = time.time() + COARSE_TICK
    monkeypatch.setattr("heatpose.data.storage.time.time", lambda: later)
    (settled,) = Storage(url).scan()["up/"]
    assert fresh.stamp is None and settled.stamp is not None


def test_a_stamp_changes_with_the_content(s3_server):
    url = f"s3://poses/{uuid4().hex}"

    def stamp():
        (entry,) = Storage(url).scan()["up/"]
        return entry.stamp

    put(f"{url}/up/1.npy", b"one")
    first = stamp()
    assert stamp() == first
    put(f"{url}/up/1.npy", b"two")
    assert stamp() != first


def test_markers_of_folders_are_no_files(s3_server):
    root = f"poses/{uuid4().hex}"
    for path in ("/", "/empty/", "/up/", "/up/1.npy"):
        fsspec.filesystem("s3").pipe_file(root + path, b"")
    folders = Storage(f"s3://{root}").scan()
    assert {folder: [entry.name for entry in entries] for folder, entries in folders.items()} == {
        "": ["empty", "up"],
        "empty/": [],
        "up/": ["1.npy"],
    }


def test_a_whole_file_takes_one_request(s3_server, monkeypatch):
    url = f"s3://poses/{uuid4().hex}"
    put(f"{url}/up/1.npy", b"one")
    storage, calls = Storage(url), []
    call = storage._fs._call_s3
    monkeypatch.setattr(
        storage._fs, "_call_s3", lambda method, *args, **more: calls.append(method) or call(method, *args, **more)
    )
    assert storage.read("up/1.npy") == b"one"
    assert storage.read("up/1.npy", 0, 2) == b"on"
    assert calls == ["get_object", "get_object"]


class TestWriting:
    def test_a_file_and_nothing_beside_it(self, writable):
        Storage(f"{writable}/out.csv").write(b"one")
        Storage(f"{writable}/out.csv").write(b"two")
        assert Storage(f"{writable}/out.csv").read() == b"two"
        assert [entry.name for entry in Storage(writable).scan()[""]] == ["out.csv"]

    def test_the_check_leaves_nothing(self, writable):
        put(f"{writable}/other", b"")
        Storage(f"{writable}/out.csv").check_writable()
        assert [entry.name for entry in Storage(writable).scan()[""]] == ["other"]

    def test_a_file_stays_when_its_replacement_fails(self, monkeypatch):
        url = f"memory://{uuid4().hex}"
        Storage(f"{url}/out.csv").write(b"one")

        def fail(*args, **kwargs):
            raise OSError("no space left")

        monkeypatch.setattr(MemoryFileSystem, "mv", fail)
        with pytest.raises(StorageError, match=r"Cannot write memory://.*/out.csv: no space left"):
            Storage(f"{url}/out.csv").write(b"two")
        assert Storage(f"{url}/out.csv").read() == b"one"
        assert [entry.name for entry in Storage(url).scan()[""]] == ["out.csv"]

    def test_a_bucket_is_never_made(self, s3_server):
        for task in (lambda out: out.write(b""), lambda out: out.check_writable()):
            with pytest.raises(OSError, match=r"s3://no-such-bucket/out\.csv.*bucket does not exist"):
                task(Storage("s3://no-such-bucket/out.csv"))

    def test_an_archive_is_not_written(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.writestr("x", b"")
        with pytest.raises(StorageError, match=r"Cannot write zip://out\.csv"):
            Storage(f"zip://out.csv::{tmp_path}/a.zip").check_writable()


class TestErrors:
    def test_a_bucket_that_does_not_exist(self, s3_server):
        for url in ("s3://no-such-bucket/actions", "s3://no-such-bucket"):
            with pytest.raises(FileNotFoundError, match=f"No such file or folder: {url}"):
                Storage(url).kind()

    def test_no_credentials(self, s3_server, monkeypatch, tmp_path):
        s3fs = pytest.importorskip("s3fs")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
        s3fs.S3FileSystem.clear_instance_cache()
        with pytest.raises(StorageError, match="Cannot look at s3://poses/actions: Unable to locate credentials"):
            Storage("s3://poses/actions").kind()
        s3fs.S3FileSystem.clear_instance_cache()

    def test_access_denied(self, monkeypatch):
        def refuse(*args, **kwargs):
            raise PermissionError("Access Denied")

        monkeypatch.setattr(MemoryFileSystem, "ls", refuse)
        with pytest.raises(StorageError, match="Cannot list memory://actions: Access Denied"):
            Storage("memory://actions").scan()

    def test_a_missing_library_says_what_to_install(self, monkeypatch):
        imported = sys.modules["fsspec.registry"]._registry
        monkeypatch.delitem(imported, "s3", raising=False)
        monkeypatch.setitem(sys.modules, "s3fs", None)
        with pytest.raises(ImportError, match=r's3://bucket/actions needs .*: pip install "heatpose\[s3\]"'):
            Storage("s3://bucket/actions")

    def test_an_unknown_kind_of_url(self):
        with pytest.raises(ValueError, match=r"Expected a URL that fsspec knows, got nope://actions"):
            Storage("nope://actions")

    @pytest.mark.parametrize("kind", [FileNotFoundError, PermissionError, RuntimeError])
    def test_passwords_are_not_shown_in_the_errors_of_libraries(self, kind):
        storage = Storage("memory://ann:secret@host/a?token=secret")
        with pytest.raises(OSError, match=r"memory://host/a\?token=\.\.\.") as caught, storage._errors("read"):
            raise kind("403, url='http://ann:secret@host/a?token=secret'")
        assert "secret" not in str(caught.value)

    @pytest.mark.parametrize(
        ("url", "name"),
        [
            ("https://host/a/poses.csv?X-Amz-Signature=1/b.npy#top", "poses.csv"),
            ("zip://poses.csv::https://host/actions.zip?sig=1/b", "poses.csv"),
            ("s3://bucket/what?.csv", "what?.csv"),  # a key, which may have any character
        ],
    )
    def test_the_query_of_a_signed_address_is_not_part_of_a_name(self, url, name):
        assert file_name(url) == name

    def test_passwords_are_not_shown(self):
        assert redact("sftp://ann:secret@host/a") == "sftp://host/a"
        assert redact("zip://x::sftp://ann:secret@host/a.zip") == "zip://x::sftp://host/a.zip"
        assert redact("s3://bucket/a@b/c") == "s3://bucket/a@b/c"


class TestUrls:
    @pytest.mark.parametrize(
        "url", ["s3://bucket/actions", "zip://::a.zip", "simplecache::s3://b/x", "memory://", "github+x://a"]
    )
    def test_urls(self, url):
        assert is_url(url)

    @pytest.mark.parametrize("path", ["data", "/data", "C:\\data", "C:/data", "file:///data", "a::b", ".", "s3:/b"])
    def test_paths(self, path):
        assert not is_url(path)

    def test_file_urls_are_paths(self, tmp_path):
        assert local_path((tmp_path / "an action").as_uri()) == str(tmp_path / "an action")
        assert local_path(tmp_path) == str(tmp_path)

    def test_a_path_is_added_where_it_belongs(self):
        assert join_url("s3://bucket/actions", "") == "s3://bucket/actions"
        assert join_url("s3://bucket/actions/", "up") == "s3://bucket/actions/up"
        assert join_url("simplecache::s3://bucket", "up") == "simplecache::s3://bucket/up"
        assert join_url("zip://a::s3://bucket/x.zip", "up") == "zip://a/up::s3://bucket/x.zip"


class TestInOrder:
    def test_few_are_ahead(self):
        started = []
        with ThreadPoolExecutor(4) as pool:

            def submit(item):
                started.append(item)
                return pool.submit(lambda: item)

            for taken, result in enumerate(in_order(submit, range(50), ahead=5)):
                assert result == taken
                assert len(started) <= taken + 5
        assert started == list(range(50))

    def test_what_was_not_begun_is_given_up(self):
        done, gate = [], threading.Event()
        with ThreadPoolExecutor(1) as pool:

            def work(item):
                done.append(item)
                gate.wait(60)
                return item

            results = in_order(lambda item: pool.submit(work, item), range(100), ahead=10)
            gate.set()
            assert next(results) == 0
            gate.clear()
            results.close()
            gate.set()
        assert len(done) < 100

    def test_an_error_comes_out(self):
        with ThreadPoolExecutor(1) as pool, pytest.raises(ZeroDivisionError):
            list(in_order(lambda item: pool.submit(divmod, 1, item), [1, 0, 2], ahead=2))

    def test_many_wait_at_once(self):
        waiting, most, lock = 0, 0, threading.Lock()

        def wait(item):
            nonlocal waiting, most
            with lock:
                waiting += 1
                most = max(most, waiting)
            time.sleep(0.01)
            with lock:
                waiting -= 1
            return item

        assert list(concurrently(wait, range(64))) == list(range(64))
        assert most > 8
