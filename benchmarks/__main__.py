"""Run all benchmarks one after the other: ``python -m benchmarks [--real DATA] [--scale FOLDER] [--quick]``."""

from __future__ import annotations

import argparse
import shutil

from benchmarks import (
    decoding,
    describe_machine,
    distributed,
    fuzz_npy,
    generalisation,
    inspection,
    intervals,
    kills,
    latency,
    latency_onnx,
    pixels,
    reading,
    report_in_browser,
    scale,
    streaming,
    tampering,
    versions,
    watching,
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--real", metavar="DATA", help="folder of real heatmaps, see benchmarks.generalisation")
    parser.add_argument("--scale", metavar="FOLDER", help="write 8.5 GB of heatmaps there, and train on them")
    parser.add_argument("--quick", action="store_true", help="to see that all of it runs, not for the figures")
    options = parser.parse_args()
    quick = ["--quick"] if options.quick else []

    print(describe_machine())
    print("\n## Decoding")
    decoding.main(["--samples", "100"] if options.quick else [])
    if options.real is not None:
        print("\n## Reading")
        reading.main([options.real, *(["--repeats", "1"] if options.quick else [])])
        print("\n## Networks on heatmaps as they are")
        pixels.main([options.real, *quick])
    print("\n## One frame")
    latency.main(["--classifiers", "lda", "--frames", "50"] if options.quick else [])
    print("\n## Real-time recognition")
    watching.main(["--seconds", "2"] if options.quick else [])
    streaming.main(["--streams", "1", "--classifier", "logistic"] if options.quick else [])
    print("\n## Kills")
    kills.main(["--kills", "2"] if options.quick else [])
    if options.scale is not None:
        print("\n## From files to a model at full size")
        scale.main([options.scale, *(["--samples", "600"] if options.quick else [])])
    print("\n## A cluster of two workers")
    distributed.main(quick)
    print("\n## Inspection")
    inspection.main(["--seeds", "1"] if options.quick else [])
    print("\n## Confidence intervals")
    intervals.main(["--evaluations", "20"] if options.quick else [])
    print("\n## Mutated files")
    fuzz_npy.run(500 if options.quick else 20_000)
    print("\n## Exported models")
    latency_onnx.main(["--frames", "300", "--max-samples", "1000"] if options.quick else [])
    tampering.main(["--changes", "100"] if options.quick else [])
    if not options.quick:
        versions.main([])
    if shutil.which("chromium"):
        print("\n## The report in a browser")
        report_in_browser.main([])
    print("\n## Generalisation")
    generalisation.main([*(["--real", options.real] if options.real is not None else []), *quick])


if __name__ == "__main__":
    main()
