// What every page shares: words, elements made without markup, the blocks of a reply, days and times.

export const config = JSON.parse(document.querySelector('meta[name="config"]').content)

const stored = (key) => { try { return localStorage.getItem(key) } catch { return null } }
export const keep = (key, value) => { try { localStorage.setItem(key, value) } catch { /* private mode */ } }
export const kept = stored

let dictionary = {}
export let language = stored('wh-language') || ((navigator.language || '').toLowerCase().startsWith('zh') ? 'zh' : 'en')

export async function loadWords() {
  dictionary = await (await fetch(`${config.chat}/static/words.json`)).json()
  if (!dictionary[language]) language = 'en'
  translate()
}

export function t(key, values = {}) {
  const words = dictionary[language]?.[key] ?? dictionary.en?.[key] ?? key
  return words.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? '')
}

export const statusWords = () => Object.values(dictionary).flatMap((d) => Object.entries(d._status || {}))

const listeners = []
export const onLanguage = (listener) => listeners.push(listener)

export function setLanguage(chosen) {
  if (!dictionary[chosen] || chosen === language) return
  language = chosen
  keep('wh-language', chosen)
  translate()
  for (const listener of listeners) listener()
}

// Fill what carries data-t (text), data-t-label (aria-label and title), data-t-hint (placeholder).
export function translate(root = document) {
  document.documentElement.lang = language === 'zh' ? 'zh-CN' : language
  for (const el of root.querySelectorAll('[data-t]')) el.textContent = t(el.dataset.t)
  for (const el of root.querySelectorAll('[data-t-label]')) {
    el.setAttribute('aria-label', t(el.dataset.tLabel))
    el.title = t(el.dataset.tLabel)
  }
  for (const el of root.querySelectorAll('[data-t-hint]')) el.placeholder = t(el.dataset.tHint)
}

export function languageSwitch(button) {
  button.addEventListener('click', () => setLanguage(language === 'zh' ? 'en' : 'zh'))
  window.addEventListener('storage', (event) => { if (event.key === 'wh-language' && event.newValue) setLanguage(event.newValue) })
}

// h('div', {class: 'x', onclick: f}, 'text', child): text is always text, never markup.
export function h(tag, props = {}, ...children) {
  const el = document.createElement(tag)
  for (const [name, value] of Object.entries(props || {})) {
    if (value === undefined || value === null || value === false) continue
    if (name.startsWith('on')) el.addEventListener(name.slice(2), value)
    else if (name === 'class') el.className = value
    else el.setAttribute(name, value === true ? '' : value)
  }
  el.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false))
  return el
}

const PATHS = {
  send: 'M4 12 20 4l-5 16-3.5-6.5z M11.5 13.5 20 4',
  clip: 'M20 11.5 12 19.4a5 5 0 0 1-7-7L13.3 4.3a3.4 3.4 0 0 1 4.8 4.8l-8.2 8.1a1.7 1.7 0 0 1-2.4-2.4L15 7.4',
  file: 'M7 3h7l5 5v13H7z M14 3v5h5', down: 'M12 4v11 M7 11l5 5 5-5 M5 20h14', close: 'M6 6l12 12 M18 6 6 18',
  check: 'M5 12.5 10 17.5 19.5 7', clock: 'M12 7v5l3 2 M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18z',
  alert: 'M12 8v5 M12 16.5v.2 M12 3 2.5 20h19z', undo: 'M8 5 4 9l4 4 M4 9h10a6 6 0 0 1 0 12h-4', edit: 'M4 20l1-5L16 4l4 4L9 19z',
  back: 'M15 5l-7 7 7 7', search: 'M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14z M16.5 16.5 21 21', out: 'M14 4h5v16h-5 M4 12h11 M11 8l4 4-4 4',
  mail: 'M3 6h18v12H3z M3 7l9 7 9-7', telegram: 'M21 4 3 11l6 2.5L18 7l-7 8v5l3-3.5 4 3z', slack: 'M9 4 7 20 M17 4l-2 16 M4 9h17 M3 15h17',
  web: 'M4 5h16v11H11l-4 4v-4H4z', spark: 'M12 3l2 6.5L20.5 12 14 14.5 12 21l-2-6.5L3.5 12 10 9.5z', lock: 'M6 11h12v9H6z M8.5 11V8a3.5 3.5 0 0 1 7 0v3',
  globe: 'M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18z M3 12h18 M12 3c3 3 3 15 0 18 M12 3c-3 3-3 15 0 18', answers: 'M4 5h16 M4 10h16 M4 15h10 M4 20h7',
  star: 'M12 3.5l2.6 5.5 6 .8-4.4 4.2 1.1 6L12 17.1 6.7 20l1.1-6L3.4 9.8l6-.8z', inbox: 'M4 13 6.5 5h11L20 13v6H4z M4 13h5l1 3h4l1-3h5',
}

export function icon(name, size = 20) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg')
  for (const [key, value] of Object.entries({ viewBox: '0 0 24 24', width: size, height: size, 'aria-hidden': 'true', class: `icon icon-${name}` })) svg.setAttribute(key, value)
  const path = document.createElementNS('http://www.w3.org/2000/svg', 'path')
  path.setAttribute('d', PATHS[name] || PATHS.web)
  svg.append(path)
  return svg
}

export function fillIcons(root = document) {
  for (const el of root.querySelectorAll('[data-icon]')) el.prepend(icon(el.dataset.icon))
}

// Times, in the reader's language and time zone

const locale = () => (language === 'zh' ? 'zh-CN' : navigator.language.startsWith('en') ? navigator.language : 'en')
export const clock = (at) => new Date(at).toLocaleTimeString(locale(), { hour: '2-digit', minute: '2-digit' })

export function day(at) {
  const date = new Date(at)
  const days = Math.round((new Date().setHours(0, 0, 0, 0) - new Date(date).setHours(0, 0, 0, 0)) / 86400000)
  if (days === 0) return t('today')
  if (days === 1) return t('yesterday')
  return date.toLocaleDateString(locale(), { weekday: 'long', day: 'numeric', month: 'long', year: days > 300 ? 'numeric' : undefined })
}

export function span(since) {
  const minutes = Math.floor((Date.now() - new Date(since)) / 60000)
  if (minutes < 1) return t('now')
  if (minutes < 60) return t('minutes', { n: minutes })
  if (minutes < 48 * 60) return t('hours', { n: Math.floor(minutes / 60) })
  return t('days', { n: Math.floor(minutes / 1440) })
}

export function fileSize(bytes) {
  if (!bytes) return ''
  if (bytes < 1024 * 1024) return `${Math.max(1, Math.round(bytes / 1024))} KB`
  return `${(bytes / 1048576).toFixed(1)} MB`
}

// The blocks of a reply. `press(button)` is called for buttons that act.

const LINK = /https?:\/\/[^\s<>"'（）。，、；]+[^\s<>"'（）。，、；.,;:!?)\]]/g
const safeUrl = (url) => { try { return ['http:', 'https:', 'mailto:', 'tel:'].includes(new URL(url, location.href).protocol) } catch { return false } }

export function linked(text) {
  const parts = []
  let end = 0
  for (const match of text.matchAll(LINK)) {
    parts.push(text.slice(end, match.index), h('a', { href: match[0], target: '_blank', rel: 'noopener noreferrer' }, match[0]))
    end = match.index + match[0].length
  }
  parts.push(text.slice(end))
  return parts.filter((part) => part !== '')
}

export const wordsOf = (blocks) => (blocks || []).map((b) => b.text || b.alt || b.name || (b.pairs || []).map((p) => p.join(' ')).join(' ') || '').filter(Boolean).join(' ')
export const isRating = (buttons) => buttons.length === 5 && buttons.every((b, i) => b.label.includes(String(i + 1)) || b.label === '★'.repeat(i + 1) || b.label === '⭐'.repeat(i + 1))

export function drawBlocks(blocks, press, pressed) {
  return (blocks || []).map((block) => drawBlock(block, press, pressed)).filter(Boolean)
}

function drawBlock(block, press, pressed) {
  switch (block.b) {
    case 'text':
      return h('p', { class: `text${block.quote ? ' quote' : ''}${block.small ? ' small' : ''}`, dir: 'auto' }, linked(block.text))
    case 'heading':
      return h('h3', { class: 'heading', dir: 'auto' }, block.text)
    case 'fields':
      return h('dl', { class: 'fields' }, block.pairs.map(([label, value]) => h('div', {}, h('dt', {}, label), h('dd', { dir: 'auto' }, linked(value)))))
    case 'table':
      return drawTable(block)
    case 'image':
      if (!block.url) return h('p', { class: 'text small' }, `[${block.alt || block.name}]`)
      return h('a', { class: 'picture', href: block.url, target: '_blank', rel: 'noopener' }, h('img', { src: block.url, alt: block.alt || t('picture'), loading: 'lazy' }))
    case 'file':
      return h('a', { class: 'file', href: block.url, download: block.name, 'aria-label': `${t('download')} ${block.name}` },
        icon('file', 22), h('span', { class: 'file-name' }, block.name), h('span', { class: 'file-size' }, fileSize(block.size)), icon('down', 18))
    case 'buttons':
      return isRating(block.buttons) ? drawRating(block.buttons, press, pressed) : drawButtons(block.buttons, press, pressed)
    default:
      return null
  }
}

const NUMBER = /^[^\p{L}]*\d[\d\s.,:%+\-−€$£¥]*[\p{L}%]{0,3}$/u

function drawTable(block) {
  const right = (block.rows[0] || []).map((_, i) => i > 0 && block.rows.every((row) => !row[i] || NUMBER.test(row[i])))
  const cell = (tag, text, i) => h(tag, { class: right[i] ? 'right' : null, scope: tag === 'th' ? 'col' : null, dir: 'auto' }, text)
  const head = block.header.some(Boolean) ? h('thead', {}, h('tr', {}, block.header.map((c, i) => cell('th', c, i)))) : null
  const body = h('tbody', {}, block.rows.map((row) => h('tr', {}, row.map((c, i) => cell('td', c, i)))))
  return h('div', { class: 'table', tabindex: '0', role: 'region', 'aria-label': block.header.join(', ') }, h('table', {}, head, body))
}

function drawButtons(buttons, press, pressed) {
  return h('div', { class: `buttons${pressed ? ' answered' : ''}`, role: 'group' }, buttons.map((button) => {
    const look = `button ${button.style || ''} ${pressed && pressed === button.action ? 'pressed' : ''}`
    if (button.url) return safeUrl(button.url) ? h('a', { class: look, href: button.url, target: '_blank', rel: 'noopener noreferrer' }, button.label) : null
    const el = h('button', { type: 'button', class: look, 'data-test': 'button', 'data-action': button.action, disabled: Boolean(pressed) }, button.label)
    if (pressed && pressed === button.action) el.prepend(icon('check', 16))
    el.addEventListener('click', () => press(button, el))
    return el
  }))
}

function drawRating(buttons, press, pressed) {
  const chosen = buttons.findIndex((b) => b.action === pressed)
  const row = h('div', { class: `rating${pressed ? ' answered' : ''}`, role: 'group', 'aria-label': t('rate'), 'data-test': 'rating' })
  const light = (upTo) => [...row.children].forEach((el, i) => el.classList.toggle('lit', i <= upTo))
  buttons.forEach((button, i) => {
    const el = h('button', { type: 'button', class: 'star', title: button.label, 'aria-label': button.label, 'data-test': `rating-${i + 1}`, disabled: Boolean(pressed) }, icon('star', 30))
    el.addEventListener('click', () => { light(i); press(button, el) })
    for (const on of ['mouseenter', 'focus']) el.addEventListener(on, () => { if (!pressed) light(i) })
    row.append(el)
  })
  row.addEventListener('mouseleave', () => light(chosen))
  light(chosen)
  return row
}

// A form in a dialogue; `submit(action, values)`.
export function openForm(form, submit) {
  const inputs = form.inputs.map((input) => {
    const id = `form-${input.name}`
    const common = { id, name: input.name, required: input.required, maxlength: input.options?.length ? null : 8000 }
    let control
    if (input.options?.length) {
      control = h('select', common, h('option', { value: '' }, t('choose')), input.options.map(([value, label]) => h('option', { value, selected: value === input.value }, label)))
    } else if (input.multiline) {
      control = h('textarea', { ...common, rows: 5, dir: 'auto' })
      control.value = input.value || ''
    } else {
      control = h('input', { ...common, value: input.value || '', autocomplete: 'off', dir: 'auto' })
    }
    return h('label', { for: id, class: 'field' }, h('span', {}, input.label), control)
  })
  const dialog = h('dialog', { class: 'dialog', 'data-test': 'form', 'aria-label': form.title },
    h('form', { method: 'dialog' },
      h('h2', {}, form.title), form.intro ? h('p', { class: 'small' }, form.intro) : null, inputs,
      h('div', { class: 'dialog-buttons' },
        h('button', { type: 'button', class: 'button', onclick: () => dialog.close() }, t('cancel')),
        h('button', { type: 'submit', class: 'button primary', 'data-test': 'form-submit' }, form.submit))))
  dialog.querySelector('form').addEventListener('submit', (event) => {
    event.preventDefault()
    submit(form.action, Object.fromEntries(new FormData(event.target)))
    dialog.close()
  })
  dialog.addEventListener('close', () => dialog.remove())
  document.body.append(dialog)
  dialog.showModal()
}

// A text box that grows with what is written; Enter sends, Shift+Enter breaks the line.
export function growing(box, send) {
  const fit = () => { box.style.height = 'auto'; box.style.height = `${Math.min(box.scrollHeight, 200)}px` }
  box.addEventListener('input', fit)
  box.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && !event.shiftKey && !event.isComposing && event.keyCode !== 229) { event.preventDefault(); send() }
  })
  return fit
}

// A room that stays at its end while it grows (also when a picture in it gets its size), unless one has scrolled up.
export function sticky(scroll, content) {
  let atEnd = true
  let top = 0
  let height = 0
  const down = () => { if (atEnd) scroll.scrollTop = scroll.scrollHeight }
  scroll.addEventListener('scroll', () => {
    if (scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 120) atEnd = true
    else if (scroll.scrollTop < top - 2 && scroll.scrollHeight >= height) atEnd = false
    top = scroll.scrollTop
    height = scroll.scrollHeight
  }, { passive: true })
  const watch = new ResizeObserver(down)
  watch.observe(content)
  watch.observe(scroll)
  scroll.stick = () => { atEnd = true; down(); requestAnimationFrame(down) }
}

// Make the children of an element these, touching only what differs: pictures stay, readers hear only what is new.
export function arrange(parent, items) {
  let at = parent.firstChild
  for (const item of items) {
    if (item === at) at = at.nextSibling
    else parent.insertBefore(item, at)
  }
  while (at) {
    const next = at.nextSibling
    at.remove()
    at = next
  }
}

// Text that the demo's page offers to try.
export function offered(fill) {
  window.addEventListener('message', (event) => {
    if (event.origin === location.origin && event.data?.type === 'wh-try' && typeof event.data.text === 'string') fill(event.data.text)
  })
}
