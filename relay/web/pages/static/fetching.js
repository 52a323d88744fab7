// A document of this server, parsed: scripts in it do not run, and the server has escaped what mails brought.
export class AnswerError extends Error {}

export async function fetchDocument(address) {
  const answer = await fetch(address, { headers: { Accept: "text/html" }, cache: "no-store" });
  if (answer.redirected && new URL(answer.url).pathname !== new URL(address, location.href).pathname) {
    location.reload(); // the way leads to the form where one signs in
    throw new AnswerError("signed out");
  }
  const parsed = new DOMParser().parseFromString(await answer.text(), "text/html");
  if (!answer.ok) throw new AnswerError(parsed.querySelector("[role=alert]")?.textContent ?? `Answer ${answer.status}.`);
  return parsed;
}

export function tellLost(sentence) {
  const place = document.getElementById("lost");
  if (!place || place.textContent === sentence) return;
  place.textContent = sentence;
  place.hidden = !sentence;
}
