// Applies the stored theme before the first paint; a classic script because modules run later.
(() => {
  let theme = null;
  try {
    theme = localStorage.getItem('sightline.theme');
  } catch {
    // Storage may be forbidden: then the system's theme applies.
  }
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
})();
