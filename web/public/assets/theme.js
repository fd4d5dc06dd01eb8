// Before the first paint: the theme and the language that were chosen here.
try {
  const prefs = JSON.parse(localStorage.getItem('liaoliao.prefs') || '{}')
  if (prefs.theme === 'light' || prefs.theme === 'dark') document.documentElement.dataset.theme = prefs.theme
  const lang = localStorage.getItem('liaoliao.lang') || navigator.language || 'en'
  document.documentElement.lang = lang.toLowerCase().startsWith('zh') ? 'zh-CN' : 'en'
} catch {
  // storage is closed to us: the system's theme will do
}
