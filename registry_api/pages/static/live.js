// Follows changes while a page is seen, and has htmx load the part that shows them. Without it the page stays as it is.
(() => {
  "use strict";
  const region = document.querySelector("[data-live]");
  const button = document.getElementById("pause");
  if (!region || !button || !window.EventSource) return;
  let source = null;
  let paused = false;

  const refresh = () => region.dispatchEvent(new CustomEvent("live-change"));

  const close = () => {
    if (source) source.close();
    source = null;
  };

  const open = () => {
    if (source || paused || document.hidden) return;
    let began = false;
    source = new EventSource(region.dataset.live);
    source.addEventListener("open", () => {
      button.hidden = false;
      if (began) refresh(); // what came while the connection was broken
      began = true;
    });
    source.addEventListener("versions", refresh);
    source.addEventListener("runs", refresh);
    source.addEventListener("end", () => {
      close();
      location.reload();
    });
  };

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      close();
    } else if (!paused) {
      refresh();
      open();
    }
  });
  window.addEventListener("pagehide", close);
  window.addEventListener("pageshow", open);
  button.addEventListener("click", () => {
    paused = !paused;
    button.textContent = paused ? "Resume updates" : "Pause updates";
    if (paused) {
      close();
    } else {
      refresh();
      open();
    }
  });
  open();
})();
