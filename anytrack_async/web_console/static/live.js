// The stream of changes stops while the page is in a background tab. htmx's extension for
// server-sent events takes its sources from `htmx.createEventSource`.
htmx.createEventSource = (url) => {
  const listeners = [];
  let source = null;
  let closed = false;

  const disconnect = () => {
    if (source) source.close();
    source = null;
  };
  const connect = () => {
    if (closed || source || document.hidden) return;
    source = new EventSource(url);
    for (const [name, listener] of listeners) source.addEventListener(name, listener);
    source.onerror = () => {
      // The browser tries again by itself, except after an answer that is no stream.
      if (source && source.readyState === EventSource.CLOSED) {
        disconnect();
        setTimeout(connect, 5000);
      }
    };
  };
  document.addEventListener("visibilitychange", () => (document.hidden ? disconnect() : connect()));
  window.addEventListener("pagehide", disconnect);
  window.addEventListener("pageshow", connect);
  connect();

  return {
    get readyState() {
      return closed ? EventSource.CLOSED : EventSource.OPEN;
    },
    addEventListener(name, listener) {
      listeners.push([name, listener]);
      if (source) source.addEventListener(name, listener);
    },
    removeEventListener(name, listener) {
      if (source) source.removeEventListener(name, listener);
    },
    close() {
      closed = true;
      disconnect();
    },
  };
};
