// The keys of the page; none of them while somebody writes, or with Ctrl, Alt or Meta.
export function startKeys(list, refresh) {
  const help = document.getElementById("help");
  const button = document.getElementById("help-open");
  const search = document.getElementById("q");
  button.hidden = false;
  button.addEventListener("click", () => help.showModal());

  const actions = {
    j: () => list?.step(1),
    k: () => list?.step(-1),
    "/": () => {
      search.focus();
      search.select();
    },
    o: () => list?.enter(),
    e: () => document.getElementById("original")?.click(),
    x: () => list?.pick(),
    r: () => {
      const retry = document.getElementById("retry");
      if (retry) retry.focus();
      else refresh?.();
    },
    u: () => {
      if (list) list.leave();
      else document.querySelector(".back a")?.click();
    },
    "?": () => help.showModal(),
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing || help.open) return;
    const target = event.target;
    if (target instanceof HTMLElement && target.closest("input:not([type=checkbox]), textarea, select, [contenteditable]")) {
      if (event.key === "Escape") target.blur();
      return;
    }
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
}
