// The search of a site that is opened from disk: browsers start no worker from a file, so the worker's script runs in a
// hidden frame instead. (Named as the theme's plugin "offline" expects; it would fetch another from a public server.)
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    #frame = document.createElement("iframe");
    #loaded = new Promise((done) => this.#frame.addEventListener("load", done, { once: true }));

    constructor(url) {
      super();
      this.#frame.hidden = true;
      this.#frame.title = "Search";
      this.#frame.srcdoc = `<!doctype html><html lang="en"><title>Search</title><script src="${url}"></script></html>`;
      document.body.append(this.#frame);
      this.#loaded.then(() => {
        this.#frame.contentWindow.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
      });
    }

    postMessage(data) {
      this.#loaded.then(() => this.#frame.contentWindow.dispatchEvent(new MessageEvent("message", { data })));
    }

    terminate() {
      this.#frame.remove();
    }
  };
}
