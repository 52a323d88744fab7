"use strict";
// Keeps the list current, sizes the message's frame, and serves the three buttons. What a mail brought enters the page
// as text, never as markup.

const list = document.getElementById("list");
let last = Number(document.body.dataset.last);

function span(name, text) {
  const element = document.createElement(name === "time" ? "time" : "span");
  if (name !== "time") element.className = name;
  element.textContent = text;
  return element;
}

function addRow(row) {
  const link = document.createElement("a");
  link.className = "row fresh";
  link.href = "/contacts/" + row.contact_id;
  link.append(span("sender", row.sender), span("time", row.time), span("subject", row.subject),
    span("destination", row.destination));
  if (row.files) link.append(span("files", row.files + (row.files === 1 ? " file" : " files")));
  list.prepend(link);
}

async function refresh() {
  const answer = await fetch("/rows?after=" + last);
  const news = await answer.json();
  for (const row of news.rows.reverse()) addRow(row);
  if (news.rows.length) last = news.rows[news.rows.length - 1].number;
  document.getElementById("empty").hidden = list.querySelector(".row") !== null;
  document.getElementById("count").textContent = news.count;
  document.getElementById("plural").textContent = news.count === 1 ? "" : "s";
  const faults = document.getElementById("faults");
  faults.hidden = !news.faults;
  faults.querySelector("b").textContent = news.faults;
}

async function keepCurrent() {
  for (;;) {
    await new Promise((wake) => setTimeout(wake, 1000));
    if (document.hidden) continue;
    try {
      await refresh();
    } catch {
      document.getElementById("count").textContent = "?"; // the sandbox has stopped
    }
  }
}

document.getElementById("clear").addEventListener("click", async () => {
  await fetch("/api/contacts", { method: "DELETE" });
  location.href = "/";
});
document.getElementById("end-faults").addEventListener("click", async () => {
  await fetch("/api/chaos", { method: "DELETE" });
  await refresh();
});

const frame = document.querySelector("iframe.body");
if (frame) {
  const fit = () => {
    const inner = frame.contentDocument && frame.contentDocument.documentElement;
    if (inner) frame.style.height = Math.min(Math.max(inner.scrollHeight + 4, 128), 4000) + "px";
  };
  frame.addEventListener("load", fit);
  fit();
}
document.querySelector(".row.open")?.scrollIntoView({ block: "nearest" });
keepCurrent();
