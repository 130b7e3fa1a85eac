// Before the first paint: the theme that was chosen, if one was. "auto" leaves it to the system.
(() => {
  const chosen = localStorage.getItem("adapterd.theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
