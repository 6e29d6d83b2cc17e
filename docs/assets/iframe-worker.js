// Browsers start no worker from a page that was opened as a file. There, the search runs in a hidden frame instead, which
// takes and gives messages as a worker would. The theme asks for a script of this name.
if (location.protocol === "file:") {
  window.IFrameWorker = class extends EventTarget {
    constructor(url) {
      super();
      this.waiting = [];
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      // In the frame `postMessage` speaks to the page, as it does in a worker.
      window.IFrameWorker.answer = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
      const answer = "<script>self.postMessage = (data) => parent.IFrameWorker.answer(data)</" + "script>";
      const script = '<script src="' + new URL(url, location.href) + '"></' + "script>";
      this.frame.srcdoc = answer + script;
      this.frame.addEventListener("load", () => this.start());
      const add = () => document.body.append(this.frame);
      document.body ? add() : addEventListener("DOMContentLoaded", add);
    }

    start() {
      const waiting = this.waiting;
      this.waiting = null;
      waiting.forEach((data) => this.postMessage(data));
    }

    postMessage(data) {
      if (this.waiting) {
        this.waiting.push(data);
        return;
      }
      const inside = this.frame.contentWindow;
      inside.dispatchEvent(new inside.MessageEvent("message", { data }));
    }
  };
  window.Worker = window.IFrameWorker;
}
