// Instants in the reader's own zone; without scripts they stand in UTC.
const DAY = { day: "numeric", month: "short" };
const CLOCK = { hour: "2-digit", minute: "2-digit", second: "2-digit" };
const LONG = { weekday: "long", year: "numeric", month: "long", day: "numeric", ...CLOCK, timeZoneName: "short" };

function words(at, form) {
  if (form === "long") return at.toLocaleString(undefined, LONG);
  const today = at.toDateString() === new Date().toDateString();
  if (form === "clock") return at.toLocaleString(undefined, today ? CLOCK : { ...DAY, ...CLOCK });
  return today ? at.toLocaleTimeString(undefined, CLOCK) : at.toLocaleDateString(undefined, DAY);
}

export function localise(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime()) || time.title) continue;
    time.title = at.toLocaleString(undefined, LONG);
    time.textContent = words(at, time.dataset.form);
  }
}
