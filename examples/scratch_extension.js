// An unsandboxed extension for editors based on Scratch (TurboWarp and others): a hat block that starts when a pose is
// entered, and a reporter of the current pose. Allow the editor's origin: heatpose live ... --serve 8000 --allow-origin ORIGIN
class BodyPoses {
  constructor(runtime) {
    this.pose = "";
    this.listen(runtime);
  }
  listen(runtime) {
    const socket = new WebSocket("ws://127.0.0.1:8000/events");
    socket.onmessage = (message) => {
      const event = JSON.parse(message.data);
      if (event.kind === "state") this.pose = event.poses[0]?.label ?? "";
      if (event.kind === "left") this.pose = "";
      if (event.kind === "entered") {
        this.pose = event.label;
        runtime.startHats("bodyposes_whenEntered", { POSE: event.label });
      }
    };
    socket.onclose = () => setTimeout(() => this.listen(runtime), 1000);
  }
  getInfo() {
    const POSE = { type: Scratch.ArgumentType.STRING, defaultValue: "action_up" };
    return {
      id: "bodyposes",
      name: "Body poses",
      blocks: [
        { opcode: "whenEntered", blockType: Scratch.BlockType.EVENT, text: "when pose [POSE]", isEdgeActivated: false, arguments: { POSE } },
        { opcode: "currentPose", blockType: Scratch.BlockType.REPORTER, text: "pose" },
      ],
    };
  }
  currentPose() { return this.pose; }
}
Scratch.extensions.register(new BodyPoses(Scratch.vm.runtime));
