"use strict";
const $ = (id) => document.getElementById(id);
const canvas = $("picture"), context = canvas.getContext("2d");
const STALE = 3000;  // milliseconds without a picture after which the last pose is no longer the current one
const MOST_EVENTS = 60;
let labels = [], newest = 0, drawn = 0, stale;

function colour(...names) {
  const [side, other] = new Set(names.map((name) => name.split("_")[0]).filter((start) => start === "left" || start === "right"));
  return side && !other ? getComputedStyle(document.documentElement).getPropertyValue("--" + side) : "#f2f5f8";
}

function draw(view, image) {
  const [width, height] = view.size;
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  context.fillStyle = "#0b0f14";
  context.fillRect(0, 0, width, height);
  if (image) context.drawImage(image, 0, 0, width, height);
  const unit = Math.max(width, height) / 200;
  for (const person of view.people) {
    context.lineCap = "round";
    for (const [a, b] of view.limbs) {
      const [p, q] = [person.keypoints[a], person.keypoints[b]];
      if (!p || !q) continue;
      for (const [stroke, thick] of [["rgba(8,12,16,.65)", 2.6], [colour(view.names[a], view.names[b]), 1.5]]) {
        context.strokeStyle = stroke;
        context.lineWidth = thick * unit;
        context.beginPath();
        context.moveTo(p[0], p[1]);
        context.lineTo(q[0], q[1]);
        context.stroke();
      }
    }
    person.keypoints.forEach((point, k) => {
      if (!point) return;
      context.fillStyle = colour(view.names[k]);
      context.beginPath();
      context.arc(point[0], point[1], 1.5 * unit, 0, 7);
      context.fill();
    });
    const seen = person.keypoints.filter(Boolean), name = [person.person, person.label].filter((text) => text != null).join(" ");
    if (person.person == null || !seen.length) continue;  // one person needs no name
    const x = seen.reduce((sum, point) => sum + point[0], 0) / seen.length, y = Math.min(...seen.map((point) => point[1]));
    Object.assign(context, { font: `600 ${7 * unit}px system-ui, sans-serif`, textAlign: "center", lineJoin: "round", strokeStyle: "#0b0f14", lineWidth: 2 * unit, fillStyle: "#fff" });
    for (const write of ["strokeText", "fillText"]) context[write](name, x, Math.max(y - 5 * unit, 8 * unit), width / 2);
  }
}

function showNow(person, otherwise) {
  $("label").textContent = person ? person.label ?? "–" : "–";
  const share = person && person.confidence != null ? person.confidence : 0;
  $("meter").style.width = `${100 * share}%`;
  $("confidence").textContent = person ? `confidence ${share.toFixed(2)}` + who(person) : otherwise;
  const probabilities = (person && person.probabilities) || {};
  const best = labels.reduce((a, b) => ((probabilities[b] ?? 0) > (probabilities[a] ?? 0) ? b : a), labels[0]);
  for (const row of $("bars").children) {
    const value = probabilities[row.dataset.label] ?? 0;
    row.querySelector("i").style.width = `${100 * value}%`;
    row.querySelector("b").textContent = value.toFixed(2);
    row.classList.toggle("best", row.dataset.label === best && value > 0);
  }
}

function listLabels(names) {
  labels = names;
  $("bars").replaceChildren(...names.map((name) => {
    const row = document.createElement("li");
    row.dataset.label = name;
    row.append(Object.assign(document.createElement("span"), { textContent: name, title: name }));
    const track = document.createElement("div");
    track.append(document.createElement("i"));
    row.append(track, Object.assign(document.createElement("b"), { textContent: "0.00" }));
    return row;
  }));
  delete $("frames").dataset.key;  // what can be recorded is listed anew
}

function who(record) { return record.person == null ? "" : ` (person ${record.person})`; }

function addEvent(event) {
  const list = $("events");
  list.querySelector(".empty")?.remove();
  const row = document.createElement("li");
  const when = event.time > 1e8 ? new Date(1000 * event.time).toLocaleTimeString() : `${event.time.toFixed(2)} s`;
  row.append(
    Object.assign(document.createElement("span"), { textContent: event.kind, className: event.kind }),
    Object.assign(document.createElement("span"), { textContent: event.label + who(event) }),
    Object.assign(document.createElement("time"), { textContent: when }));
  list.prepend(row);
  while (list.children.length > MOST_EVENTS) list.lastChild.remove();
}

function showRecording(status) {
  const clip = status.clip;
  const isOn = status.state === "recording", big = $("countdown"), focused = document.activeElement;
  big.hidden = status.state === "idle" || status.remaining == null;
  big.classList.toggle("on", isOn);
  big.textContent = isOn ? `● recording ${clip.label}, ${Math.ceil(status.remaining)} s` : Math.ceil(status.remaining);
  $("start").disabled = status.state !== "idle";
  $("stop").disabled = status.state === "idle";
  $("discard").disabled = !clip;
  if (focused?.disabled) $(status.state === "idle" ? "start" : "stop").focus();
  if (status.state !== "idle") $("message").textContent = "";
  else if (!$("message").classList.contains("bad")) $("message").textContent = !clip ? "" : clip.frames
    ? `Recorded ${clip.frames} frames of ${clip.label}, performer ${clip.performer}.`
    : `Recorded nothing of ${clip.label}, performer ${clip.performer}: no person was seen.`;
  const key = JSON.stringify(status.frames);
  if ($("frames").dataset.key === key) return;
  $("frames").dataset.key = key;
  const known = new Set([...labels, ...status.frames.map((line) => line.label)]);
  $("labels").replaceChildren(...[...known].map((value) => Object.assign(document.createElement("option"), { value })));
  $("frames").replaceChildren(...status.frames.map((line) => {
    const row = document.createElement("tr");
    for (const value of [line.label, line.performer, line.clips, line.frames || "missing"]) {
      row.append(Object.assign(document.createElement("td"), { textContent: value, className: value === "missing" ? "missing" : "" }));
    }
    return row;
  }));
}

async function record(wish) {
  const body = JSON.stringify(wish), headers = { "Content-Type": "application/json" };
  const answer = await fetch("record", { method: "POST", headers, body }).catch((error) => new Response(error.message, { status: 502 }));
  $("message").classList.toggle("bad", !answer.ok);
  if (answer.ok) { $("message").textContent = ""; showRecording(await answer.json()); }
  else $("message").textContent = await answer.text();
}
$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const values = Object.fromEntries(new FormData($("form")));
  record({ action: "start", label: values.label.trim(), performer: values.performer.trim(), seconds: Number(values.seconds), countdown: Number(values.countdown) });
});
$("stop").addEventListener("click", () => record({ action: "stop" }));
$("discard").addEventListener("click", () => record({ action: "discard" }));

function setStatus(text, className) { Object.assign($("status"), { textContent: text, className }); }

function connect(path, onMessage, wait = 500) {
  const socket = new WebSocket(new URL(path, location.href.replace("http", "ws")));  // also below a proxy's path
  socket.onopen = () => { wait = 500; setStatus("connected", "on"); };
  socket.onmessage = (message) => onMessage(JSON.parse(message.data));
  socket.onclose = async () => {
    const answer = await fetch("page.css").catch(() => null);  // a token lasts until heatpose ends
    setStatus(answer?.status === 401 ? "heatpose was started again: open the address that it prints" : "not connected, trying again", "off");
    setTimeout(() => connect(path, onMessage, Math.min(2 * wait, 8000)), wait);
  };
}
connect("events", (record) => {
  if (record.kind === "state") {
    listLabels(record.labels.filter((name) => name !== "unknown"));  // has no probability, and is not recorded
    $("record").hidden = !record.recording;
    if (record.recording) showRecording(record.recording);
    const clip = record.recording?.clip, form = $("form");  // the page was opened again
    if (clip && !form.label.value) [form.label.value, form.performer.value] = [clip.label, clip.performer];
    $("events").replaceChildren();
    record.poses.forEach(addEvent);
    if (!record.poses.length) $("events").append(Object.assign(document.createElement("li"), { textContent: "none yet", className: "empty" }));
  } else if (record.kind !== "frame") addEvent(record);
});
connect("view", (view) => {
  if (view.kind !== "view") return;
  const turn = ++newest;
  $("hint").hidden = true;
  showNow(view.people[0], "no person seen");
  clearTimeout(stale);
  stale = setTimeout(() => showNow(null, "no new pictures"), STALE);
  if (view.recording) showRecording(view.recording);
  if (!view.jpeg) { draw(view, null); return; }
  const image = new Image();
  image.onload = () => { if (turn > drawn) { drawn = turn; draw(view, image); } };  // never an older one
  image.src = `data:image/jpeg;base64,${view.jpeg}`;
});
