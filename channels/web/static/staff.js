// The staff's page: tickets on the left, the thread in the middle, answers to commands on the right.

import { commandBox } from './ask.js'
import { arrange, config, drawBlocks, fillIcons, h, languageSwitch, loadWords, offered, onLanguage, openForm, t } from './common.js'
import { Line } from './line.js'
import { Thread } from './thread.js'
import { Tickets } from './tickets.js'

const $ = (id) => document.getElementById(id)
const line = new Line(config.staff)
const entries = new Map() // id: entry of the staff room, and private answers given in its threads
const asked = new Map() // id of a pressed button: its thread; a form that answers it may open
const answers = []

const press = (button, thread, target) => {
  const where = thread ? { room: 'staff', thread } : {}
  asked.set(line.send({ t: 'act', action: button.action, target, ...where }), thread)
}
const tickets = new Tickets($('tickets'), { none: $('none'), pick: (id) => choose(id) })
const thread = new Thread({ line, entries, press, chosen: () => tickets.chosen })

function choose(id) {
  tickets.choose(id)
  $('pick').hidden = Boolean(id)
  $('open-thread').hidden = !id
  $('panes').classList.toggle('in-thread', Boolean(id))
  if (id) { thread.show(id); history.replaceState(null, '', `#${encodeURIComponent(id)}`) }
}

function take({ detail: { room, entry } }) {
  const target = entry.target && entries.get(entry.target)
  switch (entry.type) {
    case 'message':
      if (room === 'self' && !entry.thread) return answer(entry)
      entries.set(entry.id, { ...entries.get(entry.id), ...entry, waiting: false })
      break
    case 'edit':
      if (target) Object.assign(target, { blocks: entry.blocks, edited: !target.card })
      else return editAnswer(entry)
      break
    case 'mark':
      // what went out cannot be taken back any more: the thread says what became of it
      if (target && !(entry.mark === 'withdrawn' && ['sent', 'unknown'].includes(target.mark))) Object.assign(target, { mark: entry.mark, marked: entry.at })
      break
    case 'delete':
      entries.delete(entry.target)
      break
    case 'form':
      if (asked.has(entry.trigger)) {
        const where = entry.thread ? { room: 'staff', thread: entry.thread } : {}
        asked.delete(entry.trigger)
        openForm(entry.blocks.find((b) => b.b === 'form'), (action, values) => asked.set(line.send({ t: 'act', action, values, ...where }), entry.thread))
      }
      return
    default:
      return
  }
  const id = entry.card ? entry.id : entry.thread || (target?.card ? target.id : target?.thread)
  later(id)
}

// Many entries come at once when the page opens: draw once.
let drawing
const touched = new Set()
function later(id) {
  if (id) touched.add(id)
  drawing ??= requestAnimationFrame(() => {
    drawing = null
    for (const one of touched) tickets.update(one, inThread(one), line.you)
    const open = tickets.chosen && touched.has(tickets.chosen)
    touched.clear()
    tickets.draw()
    if (open) thread.draw()
    if (!tickets.chosen && location.hash.length > 1) {
      const id = decodeURIComponent(location.hash.slice(1))
      if (tickets.has(id)) choose(id)
    }
  })
}

const inThread = (id) => [...entries.values()].filter((entry) => entry.id === id || entry.thread === id)

// Answers to commands, and what was asked

function answer(entry) {
  const at = answers.findIndex((known) => known.id === entry.id)
  if (at >= 0) answers[at] = entry
  else answers.push(entry)
  if (!line.access) {
    if (entry.from !== line.you) $('sign-in-answer').replaceChildren(...drawBlocks(entry.blocks, (button) => press(button, '', entry.id)))
    return
  }
  drawAnswers()
}

function editAnswer(entry) {
  const known = answers.find((one) => one.id === entry.target)
  if (known) { known.blocks = entry.blocks; known.el = null; drawAnswers() }
}

function drawAnswers() {
  $('answers-empty').hidden = answers.length > 0
  arrange($('answers'), answers.slice(-60).map((entry) => {
    const own = entry.from === line.you
    return entry.el ??= h('li', { class: own ? 'asked' : 'answer', 'data-test': own ? 'asked' : 'answer' }, drawBlocks(entry.blocks, (button) => press(button, '', entry.id)))
  }))
  requestAnimationFrame(() => { const asked = [...$('answers').querySelectorAll('.asked')].pop(); (asked || $('answers').lastElementChild)?.scrollIntoView({ block: 'start' }) })
}

const panel = (open) => { $('panel').hidden = !open; $('panes').classList.toggle('with-panel', open) }

// Signing in

function access() {
  const inside = Boolean(line.access)
  if (!inside && !$('app').hidden) return location.reload() // no longer staff: nothing stays on the page
  $('app').hidden = !inside
  $('sign-in').hidden = inside
  if (inside) { drawAnswers(); later() } else $('code').focus()
}

function signIn(code) {
  if (!code.trim()) return
  $('sign-in-answer').textContent = t('signing_in')
  line.send({ t: 'say', text: code.trim() })
}

function state() {
  $('dot').classList.toggle('on', line.online)
  $('dot').title = t(line.online ? 'online' : 'offline')
  $('dot').setAttribute('aria-label', $('dot').title)
}

async function open() {
  await loadWords()
  fillIcons()
  document.title = `${config.title} · ${t('staff_title')}`
  if (/Mac|iP/.test(navigator.platform)) $('kbd').textContent = '⌘ K'
  for (const button of document.querySelectorAll('.language')) languageSwitch(button)
  onLanguage(() => { state(); tickets.draw(); if (tickets.chosen) thread.draw(); drawAnswers() })
  $('code-form').addEventListener('submit', (event) => { event.preventDefault(); signIn($('code').value) })
  $('sign-out').addEventListener('click', async () => { await fetch(`${config.staff}/out`, { method: 'POST' }); sessionStorage.clear(); location.reload() })
  $('filter').addEventListener('input', () => { tickets.filter = $('filter').value; tickets.draw() })
  for (const [id, all] of [['show-open', false], ['show-all', true]]) {
    $(id).addEventListener('click', () => {
      tickets.all = all
      $('show-all').setAttribute('aria-pressed', String(all))
      $('show-open').setAttribute('aria-pressed', String(!all))
      tickets.draw()
    })
  }
  $('back').addEventListener('click', () => { choose(''); history.replaceState(null, '', location.pathname) })
  $('answers-button').addEventListener('click', () => panel($('panel').hidden))
  $('panel-close').addEventListener('click', () => panel(false))
  document.addEventListener('keydown', (event) => { if (event.key === 'Escape' && !document.querySelector('dialog') && $('suggestions').hidden) panel(false) })
  const ask = commandBox($('ask'), $('suggestions'), (text) => { line.send({ t: 'say', text }); panel(true) })
  $('ask-form').addEventListener('submit', (event) => { event.preventDefault(); ask.send() })
  document.addEventListener('keydown', (event) => { if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === 'k') { event.preventDefault(); $('ask').focus(); $('ask').select() } })
  offered((text) => { if (text.startsWith('/') && line.access) { $('ask').value = text; $('ask').focus() } })
  line.addEventListener('state', state)
  line.addEventListener('access', access)
  line.addEventListener('entry', take)
  line.addEventListener('ack', ({ detail }) => {
    const known = entries.get(detail.event)
    if (known) { known.waiting = false; later(known.thread) }
  })
  line.addEventListener('no', ({ detail }) => {
    if (!line.access) $('sign-in-answer').textContent = t(`why_${detail.why}`)
    else thread.refused(detail)
  })
  setInterval(() => { thread.tick(); tickets.tick() }, 1000)
  state()
  line.start()
  const code = new URLSearchParams(location.search).get('code')
  if (code) {
    $('code').value = code
    history.replaceState(null, '', location.pathname)
    const once = () => { line.removeEventListener('access', once); if (!line.access) signIn(code) }
    line.addEventListener('access', once)
  }
}

open()
