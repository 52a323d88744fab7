// Forms: no empty field in an address, files that are dropped, the value beside a slider.
export function startForms() {
  const search = document.getElementById("search");
  search?.addEventListener("submit", () => {
    const empty = [...search.elements].filter((each) => each.name && !each.value);
    for (const each of empty) each.disabled = true;
    setTimeout(() => { for (const each of empty) each.disabled = false; });
  });
  document.addEventListener("click", (event) => {
    for (const each of document.querySelectorAll(".filters[open], .figure details[open]")) {
      if (!each.contains(event.target)) each.open = false;
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const each of document.querySelectorAll(".filters[open], .figure details[open]")) {
      each.open = false;
      if (each.contains(document.activeElement)) each.querySelector("summary").focus();
    }
  });
  for (const slider of document.querySelectorAll("input[type=range]")) {
    slider.addEventListener("input", () => { slider.parentElement.querySelector("output").value = slider.value; });
  }
  const area = document.getElementById("drop-area");
  if (!area) return;
  const input = area.querySelector("input[type=file]");
  area.addEventListener("dragover", (event) => {
    event.preventDefault();
    area.classList.add("over");
  });
  area.addEventListener("dragleave", () => area.classList.remove("over"));
  area.addEventListener("drop", (event) => {
    event.preventDefault();
    area.classList.remove("over");
    if (event.dataTransfer.files.length) input.files = event.dataTransfer.files;
  });
}
