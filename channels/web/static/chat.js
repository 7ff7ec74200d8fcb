// The customer's page.

import { clock, config, day, drawBlocks, fillIcons, fileSize, growing, h, icon, languageSwitch, loadWords, offered, onLanguage, openForm, sticky, t } from './common.js'
import { Line } from './line.js'

const $ = (id) => document.getElementById(id)
const query = new URLSearchParams(location.search)
const embedded = query.has('embed')
const line = new Line(config.chat)
const shown = new Map() // key: {entry, el}
const asked = new Set() // ids of pressed buttons: a form that answers one may open
let files = []
let started = false
let typingTimer

// One's own words are known by the id that this page gave them, also before the server has seen them.
const keyOf = (id) => (line.you && id.startsWith(`${line.you}:`) ? id.slice(line.you.length + 1) : id)
const mine = (entry) => entry.from === 'me' || entry.from === line.you

function draw(entry) {
  const own = mine(entry)
  const el = h('li', { class: `message ${own ? 'mine' : 'theirs'}`, 'data-test': own ? 'mine' : 'theirs', 'data-id': entry.id })
  const press = (button) => {
    entry.pressed = button.action
    redraw(entry)
    const id = line.send({ t: 'act', action: button.action, target: entry.id })
    asked.add(id)
    typing(true)
  }
  const words = (entry.blocks || []).filter((b) => b.b !== 'buttons')
  const buttons = (entry.blocks || []).filter((b) => b.b === 'buttons')
  const bare = words.length > 0 && words.every((b) => b.b === 'image' && b.url)
  if (words.length) el.append(h('div', { class: `bubble${bare ? ' bare' : ''}` }, drawBlocks(words, press)))
  el.append(...drawBlocks(buttons, press, entry.pressed))
  el.append(h('div', { class: 'meta' }, entry.at ? h('time', { datetime: entry.at }, clock(entry.at)) : null, entry.edited ? h('span', {}, t('edited')) : null, own ? tick(entry) : null))
  return el
}

function tick(entry) {
  if (entry.failed) {
    const again = entry.text === undefined ? null : h('button', { type: 'button', class: 'link', onclick: () => writeAgain(entry) }, t('edit'))
    return h('span', { class: 'tick bad', 'data-test': 'failed' }, icon('alert', 14), t(`why_${entry.failed}`), again)
  }
  if (entry.waiting) return h('span', { class: 'tick', title: t('sending'), 'data-test': 'sending' }, icon('clock', 13), h('span', { class: 'hidden' }, t('sending')))
  return h('span', { class: 'tick ok', title: t('delivered'), 'data-test': 'delivered' }, icon('check', 14), h('span', { class: 'hidden' }, t('delivered')))
}

function writeAgain(entry) {
  $('text').value = entry.text
  shown.get(entry.key)?.el.remove()
  shown.delete(entry.key)
  changed()
  $('text').focus()
}

function redraw(entry) {
  const held = shown.get(entry.key)
  if (!held) return
  const el = draw(entry)
  el.classList.add('still')
  held.el.replaceWith(el)
  held.el = el
}

function add(entry) {
  const known = shown.get(entry.key)
  if (known) {
    Object.assign(known.entry, entry, { waiting: false, failed: null })
    redraw(known.entry)
  } else {
    const el = draw(entry)
    shown.set(entry.key, { entry, el })
    $('log').append(el)
  }
  separate()
  $('empty').hidden = true
  if (entry.from === 'me') $('scroll').stick()
}

// A line for every new day; messages of one side that follow each other stand closer.
function separate() {
  for (const el of $('log').querySelectorAll('.day')) el.remove()
  let last = ''
  let side = null
  for (const { entry, el } of shown.values()) {
    const label = day(entry.at || Date.now())
    if (label !== last) {
      el.before(h('li', { class: 'day', role: 'separator' }, h('span', {}, label)))
      side = null
    }
    last = label
    el.classList.toggle('follows', side === mine(entry))
    side = mine(entry)
  }
}

function typing(on) {
  clearTimeout(typingTimer)
  $('typing').hidden = !on
  if (on) { $('scroll').stick(); typingTimer = setTimeout(() => typing(false), 5000) }
}

function take({ detail: { entry } }) {
  const target = entry.target && shown.get(keyOf(entry.target))?.entry
  switch (entry.type) {
    case 'message':
      entry.key = keyOf(entry.id)
      if (!mine(entry)) typing(false)
      add(entry)
      if (!mine(entry) && document.hidden) document.title = `● ${config.title}`
      if (!mine(entry) && parent !== window) parent.postMessage({ type: 'wh-message' }, '*')
      break
    case 'edit':
      if (target) { target.blocks = entry.blocks; target.edited = true; redraw(target) }
      break
    case 'delete':
      if (target) { shown.get(target.key).el.remove(); shown.delete(target.key); separate() }
      break
    case 'pressed':
      if (target) { target.pressed = entry.action; redraw(target) }
      break
    case 'form':
      if (asked.delete(entry.trigger)) openForm(entry.blocks.find((b) => b.b === 'form'), (action, values) => line.send({ t: 'act', action, values, target: entry.id }))
  }
}

function say() {
  const text = $('text').value.trim()
  if (!text && !files.length) return
  const sent = files
  const id = line.send({ t: 'say', text }, sent)
  const pictures = sent.map((file) => (file.type.startsWith('image/') && file.type !== 'image/svg+xml'
    ? { b: 'image', alt: file.name, url: URL.createObjectURL(file) } : { b: 'file', name: file.name, size: file.size, url: URL.createObjectURL(file) }))
  add({ key: id, id, type: 'message', from: 'me', at: new Date().toISOString(), waiting: true, text, blocks: [...(text ? [{ b: 'text', text }] : []), ...pictures] })
  $('text').value = ''
  files = []
  changed()
  fit()
  $('text').focus()
}

function changed() {
  $('send').disabled = !$('text').value.trim() && !files.length
  $('tray').hidden = !files.length
  $('tray').replaceChildren(...files.map((file, i) => h('li', {}, icon('file', 16), h('span', {}, file.name), h('small', {}, fileSize(file.size)),
    h('button', { type: 'button', class: 'plain', 'aria-label': `${t('remove')} ${file.name}`, onclick: () => { files.splice(i, 1); changed() } }, icon('close', 14)))))
}

function attach(list) {
  const chosen = [...list]
  const big = chosen.find((file) => file.size > config.upload_mb * 1048576)
  const many = files.length + chosen.length > 5
  problem(big ? 'too_big' : many ? 'too_many_files' : '')
  files = [...files, ...chosen.filter((file) => file.size <= config.upload_mb * 1048576)].slice(0, 5)
  changed()
}

function problem(why) {
  $('problem').hidden = !why
  $('problem').textContent = why ? t(`why_${why}`) : ''
}

function state() {
  const online = line.online
  $('state').classList.toggle('on', online)
  $('state').lastElementChild.dataset.t = online ? 'online' : 'offline'
  $('state').lastElementChild.textContent = t(online ? 'online' : 'offline')
  clearTimeout(state.timer)
  if (online) $('banner').hidden = true
  else state.timer = setTimeout(() => { $('banner').hidden = false }, 2500)
}

const fit = growing($('text'), say)

async function open() {
  await loadWords()
  fillIcons()
  sticky($('scroll'), $('log'))
  $('avatar').textContent = [...config.title][0] || '·'
  document.body.classList.toggle('embedded', embedded)
  languageSwitch($('language'))
  onLanguage(() => { for (const { entry } of shown.values()) redraw(entry); separate(); state(); changed() })
  $('composer').addEventListener('submit', (event) => { event.preventDefault(); say() })
  $('text').addEventListener('input', () => { changed(); problem('') })
  $('files').addEventListener('change', (event) => { attach(event.target.files); event.target.value = '' })
  $('attach').addEventListener('keydown', (event) => { if (event.key === 'Enter' || event.key === ' ') { event.preventDefault(); $('files').click() } })
  $('text').addEventListener('paste', (event) => { if (event.clipboardData.files.length) { event.preventDefault(); attach(event.clipboardData.files) } })
  document.addEventListener('dragover', (event) => { event.preventDefault(); document.body.classList.add('drop') })
  document.addEventListener('dragleave', (event) => { if (!event.relatedTarget) document.body.classList.remove('drop') })
  document.addEventListener('drop', (event) => { event.preventDefault(); document.body.classList.remove('drop'); attach(event.dataTransfer.files) })
  document.addEventListener('visibilitychange', () => { if (!document.hidden) document.title = config.title })
  offered((text) => { if (!text.startsWith('/')) { $('text').value = text; changed(); fit(); $('text').focus() } })
  line.addEventListener('state', state)
  line.addEventListener('entry', take)
  line.addEventListener('ack', ({ detail }) => {
    problem('')
    const known = shown.get(detail.id)
    if (known) { known.entry.waiting = false; known.entry.id = detail.event; redraw(known.entry) }
    if (detail.frame.t === 'say') typing(true)
  })
  line.addEventListener('no', ({ detail }) => {
    const known = shown.get(detail.id)
    if (known && detail.final) { known.entry.failed = detail.why; redraw(known.entry) }
    if (detail.why === 'slow_down') problem('slow_down')
    else if (detail.final && !known) problem(detail.why)
  })
  line.addEventListener('seen', () => {
    for (const { frame, at } of line.queue) {
      if (frame.t === 'say' && !shown.has(frame.id)) add({ key: frame.id, id: frame.id, type: 'message', from: 'me', at, waiting: true, text: frame.text, blocks: [{ b: 'text', text: frame.text }] })
    }
    if (!started) {
      started = true
      const payload = query.get('start') || ''
      if (!shown.size || payload) line.send({ t: 'start', id: payload ? `start-${payload.replace(/[^A-Za-z0-9_-]/g, '_').slice(0, 50)}` : 'start', text: payload.slice(0, 500) })
      $('empty').hidden = shown.size > 0
    }
  })
  state()
  changed()
  line.start()
  if (!embedded && parent === window && matchMedia('(pointer: fine)').matches) $('text').focus()
}

open()
