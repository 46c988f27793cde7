// An unsandboxed extension for editors based on Scratch (TurboWarp and others): a hat block that starts when a pose is
// entered, and a reporter of the current pose. Load it as a custom extension, from its file, and allow the editor's origin:
// heatpose live ... --serve 8000 --allow-origin https://turbowarp.org
(function (Scratch) {
  if (!Scratch.extensions.unsandboxed) throw new Error('Body poses needs "Run extension without sandbox"');
  const { runtime } = Scratch.vm;
  class BodyPoses {
    constructor() {
      this.poses = new Map(); // of each person
      this.labels = ["action_up"]; // until the model's are known: a menu must not be empty
      runtime.bodyPoses?.socket.close(); // where the file was loaded before
      runtime.bodyPoses = this;
      this.listen();
    }
    listen() {
      if (runtime.bodyPoses !== this) return;
      this.socket = new WebSocket("ws://127.0.0.1:8000/events");
      this.socket.onmessage = (message) => {
        const event = JSON.parse(message.data);
        if (event.kind === "state") {
          this.labels = event.labels;
          this.poses = new Map(event.poses.map((pose) => [pose.person, pose.label]));
        }
        if (event.kind === "left") this.poses.delete(event.person);
        if (event.kind === "entered") {
          this.poses.set(event.person, event.label);
          runtime.startHats("bodyposes_whenEntered", { POSE: event.label });
        }
      };
      this.socket.onclose = () => {
        this.poses.clear();
        setTimeout(() => this.listen(), 1000);
      };
    }
    getInfo() {
      const POSE = { type: Scratch.ArgumentType.STRING, menu: "labels" };
      return {
        id: "bodyposes",
        name: "Body poses",
        blocks: [
          { opcode: "whenEntered", blockType: Scratch.BlockType.EVENT, text: "when pose [POSE]", isEdgeActivated: false, arguments: { POSE } },
          { opcode: "currentPose", blockType: Scratch.BlockType.REPORTER, text: "pose" },
        ],
        menus: { labels: { acceptReporters: false, items: "getLabels" } }, // hats are chosen by menus, not by inputs
      };
    }
    getLabels() { return this.labels; }
    currentPose() { return [...this.poses.values()].at(-1) ?? ""; }
  }
  Scratch.extensions.register(new BodyPoses());
})(Scratch);
