// Start heatpose and do something on each pose: node listen.mjs models/pose.joblib camera/
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

const watch = spawn("heatpose", ["watch", ...process.argv.slice(2), "--events"], {
  stdio: ["ignore", "pipe", "inherit"],
});
for await (const line of createInterface({ input: watch.stdout })) {
  const event = JSON.parse(line);
  if (event.kind === "entered" && event.label !== "unknown") console.log("now:", event.label);
}
