// What changes in the spool: the server tells that something did, and the page asks for what it shows.
import { AnswerError, fetchDocument, tellLost } from "./fetching.js";

const AGAIN_MILLISECONDS = 5000;

async function refreshStrip() {
  const place = document.getElementById("strip-place");
  if (!place) return;
  const strip = (await fetchDocument("/strip")).getElementById("strip");
  if (!strip) return;
  const open = [...place.querySelectorAll("details[open]")].map((each) => each.dataset.name);
  if (place.contains(document.activeElement)) return; // somebody reads it by keyboard
  for (const name of open) strip.querySelector(`details[data-name="${CSS.escape(name)}"]`)?.setAttribute("open", "");
  place.replaceChildren(document.adoptNode(strip));
}

export function follow(list) {
  let busy = false;
  let again = false;

  async function refresh() {
    if (busy) {
      again = true; // one look after this one is enough for all marks meanwhile
      return;
    }
    busy = true;
    try {
      do {
        again = false;
        await refreshStrip();
        if (list) await list.refresh();
      } while (again && !document.hidden);
      tellLost("");
    } catch (error) {
      tellLost(error instanceof AnswerError ? error.message : "The relay does not answer; the page asks again by itself.");
    } finally {
      busy = false;
    }
  }

  let source = null;
  function listen() {
    source = new EventSource("/events");
    source.addEventListener("changed", () => {
      if (document.hidden) again = true;
      else refresh();
    });
    // What changed since the page was made, or since the connection was lost.
    source.addEventListener("open", refresh);
    source.addEventListener("error", () => {
      if (source.readyState !== EventSource.CLOSED) return; // the browser tries again
      source.close();
      setTimeout(listen, AGAIN_MILLISECONDS);
    });
  }
  listen();
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && again) refresh();
  });
  addEventListener("pagehide", () => source.close());
  addEventListener("pageshow", (event) => {
    if (event.persisted) listen();
  });
  // Ages and the pace move without a change in the spool.
  setInterval(() => {
    if (!document.hidden && !busy) refreshStrip().catch(() => {});
  }, AGAIN_MILLISECONDS);
  return refresh;
}
