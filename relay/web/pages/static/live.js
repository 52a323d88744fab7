// What changes in the spool: the server tells that something did, and the page asks for what it shows.
import { AnswerError, fetchDocument, tellLost } from "./fetching.js";

const AGAIN_MILLISECONDS = 5000;
// A page rests four times as long as it was answered, so that many of them leave the server time for others.
const LEAST_MILLISECONDS = 1000;
const MOST_MILLISECONDS = 3000;
const SHARE = 4;

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
        const began = performance.now();
        await refreshStrip();
        if (list) await list.refresh();
        tellLost("");
        const rest = Math.min(Math.max(LEAST_MILLISECONDS, SHARE * (performance.now() - began)), MOST_MILLISECONDS);
        await new Promise((wake) => setTimeout(wake, rest));
      } while (again && !document.hidden);
    } catch (error) {
      tellLost(error instanceof AnswerError ? error.message : "The relay does not answer; the page asks again by itself.");
    } finally {
      busy = false;
    }
  }

  // A page that nobody looks at does not listen: browsers have six connections to a server for all its pages.
  let source = null;
  let later = 0;
  function stop() {
    clearTimeout(later);
    source?.close();
    source = null;
  }
  function listen() {
    stop();
    if (document.hidden) return;
    source = new EventSource("/events");
    source.addEventListener("changed", refresh);
    // What changed since the page was made, or while nobody listened.
    source.addEventListener("open", refresh);
    source.addEventListener("error", () => {
      if (source?.readyState !== EventSource.CLOSED) return; // the browser tries again
      later = setTimeout(listen, AGAIN_MILLISECONDS);
    });
  }
  listen();
  document.addEventListener("visibilitychange", listen);
  addEventListener("pagehide", stop);
  addEventListener("pageshow", (event) => {
    if (event.persisted) listen();
  });
  // Ages and the pace move without a change in the spool.
  setInterval(() => {
    if (!document.hidden && !busy) refreshStrip().catch(() => {});
  }, AGAIN_MILLISECONDS);
  return refresh;
}
