// The list: it opens mails beside itself, goes on at its end, and takes in what is new.
import { AnswerError, fetchDocument, tellLost } from "./fetching.js";
import { localise } from "./times.js";

const MOST_ROWS = 2000; // more in one document make a browser slow; the address of the next page has them

function rowOf(link) {
  return link.closest(".row");
}

export function startList() {
  const nav = document.getElementById("list");
  if (!nav) return null;
  const rows = document.getElementById("rows");
  const place = document.getElementById("mail-place");
  const announce = document.getElementById("announce");
  let asking = 0;

  const links = () => [...rows.querySelectorAll(".row > a")];
  const current = () => rows.querySelector("a[aria-current]");

  function choose(reference) {
    current()?.removeAttribute("aria-current");
    const row = reference && rows.querySelector(`.row[data-reference="${CSS.escape(reference)}"]`);
    const link = row && row.querySelector("a");
    link?.setAttribute("aria-current", "true");
    link?.scrollIntoView({ block: "nearest" });
    document.body.classList.toggle("opened", Boolean(reference));
  }

  async function show(address, { focus = false } = {}) {
    const mine = ++asking;
    const url = new URL(address, location.href);
    url.searchParams.set("part", "mail");
    try {
      const article = (await fetchDocument(url)).getElementById("mail");
      if (mine !== asking || !article) return false; // another one was asked for meanwhile
      const before = document.getElementById("mail")?.dataset.reference;
      const scrolled = place.scrollTop; // a mail that is read anew, or another side of it, stays where it was
      place.replaceChildren(document.adoptNode(article));
      place.scrollTop = before === article.dataset.reference ? scrolled : 0;
      localise(place);
      choose(article.dataset.reference);
      document.title = `${article.querySelector("h1").textContent} · relay`;
      if (focus) article.focus({ preventScroll: true });
      tellLost("");
      return true;
    } catch (error) {
      tellLost(error instanceof AnswerError ? error.message : "The relay does not answer.");
      return false;
    }
  }

  async function open(address, options) {
    if (await show(address, options)) history.pushState({ mail: true }, "", address);
  }

  document.addEventListener("click", (event) => {
    if (event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    const link = event.target.closest(".row > a, .sides a:not([download]), a[data-open]");
    if (!link) return;
    event.preventDefault();
    open(link.href, { focus: Boolean(rowOf(link)) && matchMedia("(max-width: 52rem)").matches });
  });
  addEventListener("popstate", () => {
    if (location.pathname.startsWith("/mails/")) show(location.href);
    else location.reload();
  });

  async function older(link) {
    if (links().length >= MOST_ROWS || link.dataset.asked) return;
    link.dataset.asked = "yes";
    try {
      const next = await fetchDocument(link.dataset.rows);
      const item = link.closest("li");
      const fragment = document.createDocumentFragment();
      // A document whose body holds list items alone.
      for (const each of [...next.body.querySelectorAll(":scope > li")]) {
        const there = each.dataset.reference && rows.querySelector(`[data-reference="${CSS.escape(each.dataset.reference)}"]`);
        if (!there) fragment.append(document.adoptNode(each));
      }
      localise(fragment);
      item.replaceWith(fragment);
      watch();
    } catch {
      delete link.dataset.asked; // the link stays, and leads on
    }
  }
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) older(entry.target);
  }, { rootMargin: "600px" });
  function watch() {
    seen.disconnect();
    const link = rows.querySelector(".more a");
    if (link) seen.observe(link);
  }

  // A row as it is now, in the place of the one that stands there.
  function renew(row, fresh) {
    if (row.innerHTML === fresh.innerHTML) return;
    const chosen = row.querySelector("a").hasAttribute("aria-current");
    const had = row.contains(document.activeElement);
    const picked = row.querySelector(".pick")?.checked;
    row.className = fresh.className;
    row.replaceChildren(...fresh.childNodes);
    const link = row.querySelector("a");
    const pick = row.querySelector(".pick");
    if (pick && picked) pick.checked = true;
    if (chosen) link.setAttribute("aria-current", "true");
    if (had) link.focus({ preventScroll: true });
  }

  // The newest page again: rows that are there change where they stand, new ones come to the front, and those go
  // that stand among the rows of the answer and are not in it. The pages behind it stay.
  function merge(news) {
    const fresh = [...news.querySelectorAll(":scope > .row")].map((row) => document.adoptNode(row));
    const more = news.querySelector(":scope > .more");
    const known = new Map([...rows.querySelectorAll(".row")].map((row) => [row.dataset.reference, row]));
    const kept = new Set(fresh.map((row) => row.dataset.reference));
    const whole = !more || known.size > MOST_ROWS;
    const end = whole ? null : known.get(fresh.at(-1)?.dataset.reference) ?? null;
    const gone = new Set();
    for (const row of [...rows.querySelectorAll(".row")]) {
      if (!kept.has(row.dataset.reference)) {
        gone.add(row.dataset.reference);
        row.remove();
      }
      if (row === end) break;
    }
    let count = 0;
    let place = rows.querySelector(".row, .more");
    for (const row of fresh) {
      localise(row);
      const before = known.get(row.dataset.reference);
      if (before) {
        renew(before, row);
        place = before.nextElementSibling;
      } else {
        row.classList.add("fresh");
        rows.insertBefore(row, place);
        count += 1;
      }
    }
    if (whole) rows.querySelector(".more")?.remove();
    if (more && !rows.querySelector(".more")) rows.append(document.adoptNode(more));
    return { count, gone };
  }

  async function refresh() {
    if (nav.dataset.later) return;
    const asked = nav.dataset.asked;
    const { count, gone } = merge((await fetchDocument(`/rows${asked ? `?${asked}` : ""}`)).body);
    watch();
    document.getElementById("empty").hidden = rows.querySelector(".row") !== null;
    if (count) announce.textContent = count === 1 ? "A new mail." : `${count} new mails.`;
    const article = document.querySelector("#mail[data-reference]");
    if (!article || article.contains(document.activeElement)) return; // somebody is busy in it
    // A mail that is looked at is read anew when its state changes, or when it is no more what the list asks for.
    const reference = article.dataset.reference;
    const row = rows.querySelector(`.row[data-reference="${CSS.escape(reference)}"]`);
    if (row ? !row.classList.contains(article.dataset.state) : gone.has(reference)) await show(location.href);
  }

  function step(by) {
    const all = links();
    if (!all.length) return;
    const now = all.indexOf(current() ?? document.activeElement);
    const next = all[Math.min(Math.max(now + by, 0), all.length - 1)];
    if (next && next !== current()) {
      open(next.href);
      announce.textContent = next.querySelector(".subject").textContent;
    }
    if (next === all[all.length - 1]) {
      const more = rows.querySelector(".more a");
      if (more) older(more);
    }
  }

  // Into the mail that is open; into the one that has the focus or is the first where none is.
  async function enter() {
    const article = document.querySelector("#mail[data-reference]");
    if (article) {
      article.focus({ preventScroll: true });
      return;
    }
    const link = document.activeElement.closest(".row > a") ?? links()[0];
    if (link) await open(link.href, { focus: true });
  }

  choose(document.querySelector("#mail[data-reference]")?.dataset.reference);
  watch();
  function pick() {
    (current() && rowOf(current()).querySelector(".pick"))?.click();
  }

  // Back to the row of the open mail; on a narrow screen the list takes the place of the mail.
  function leave() {
    const link = current() ?? links()[0];
    document.body.classList.remove("opened");
    link?.scrollIntoView({ block: "nearest" });
    link?.focus({ preventScroll: true });
  }

  return { refresh, step, enter, pick, leave };
}
