// One ticket's thread: its card, what was said, and the box to answer in.

import { arrange, clock, config, day, drawBlocks, growing, h, icon, language, onLanguage, sticky, t, wordsOf } from './common.js'
import { spoken } from './tickets.js'

const $ = (id) => document.getElementById(id)
const NOTE = /^\s*(\/\/|note\s*[:：]|备注\s*[:：]|注\s*[:：])/i
const COMMAND = /^\s*[!/](?!\/)\S/
const REPLY = /^\s*(!reply\s|[>＞])/i

const HUES = [212, 268, 330, 20, 160, 190, 290, 100]
const hue = (id) => HUES[[...id].reduce((sum, c) => (sum * 31 + c.charCodeAt(0)) % 9973, 7) % HUES.length]

// What a text typed in a thread is: a reply to the customer, a note for the team, or a command.
export function modeOf(text) {
  if (NOTE.test(text)) return 'note'
  if (config.reply_mode === 'explicit') return REPLY.test(text) ? 'reply' : COMMAND.test(text) ? 'command' : 'note'
  return REPLY.test(text) ? 'reply' : COMMAND.test(text) ? 'command' : 'reply'
}

export class Thread {
  constructor({ line, entries, press, chosen }) {
    Object.assign(this, { line, entries, press, chosen, drafts: new Map(), edits: '', drawn: new Map() })
    this.box = $('text')
    this.fit = growing(this.box, () => this.say())
    this.box.addEventListener('input', () => this.typed())
    $('composer').addEventListener('submit', (event) => { event.preventDefault(); this.say() })
    $('as-reply').addEventListener('click', () => this.switchTo('reply'))
    $('as-note').addEventListener('click', () => this.switchTo('note'))
    $('edit-cancel').addEventListener('click', () => this.stopEditing())
    onLanguage(() => this.typed())
    new IntersectionObserver(([seen]) => $('open-thread').classList.toggle('card-seen', seen.intersectionRatio > 0.35), { root: $('scroll'), threshold: [0, 0.35, 0.7] }).observe($('card'))
    sticky($('scroll'), $('log'))
  }

  show(id) {
    if (this.id) this.drafts.set(this.id, this.box.value)
    if (this.id !== id) this.drawn.clear()
    this.id = id
    this.stopEditing(this.drafts.get(id) || '')
    this.problem('')
    this.draw(true)
    if (matchMedia('(pointer: fine)').matches) this.box.focus({ preventScroll: true })
  }

  draw(atEnd = false) {
    const scroll = $('scroll')
    const card = this.entries.get(this.id)
    if (!card) return
    $('card').replaceChildren(...drawBlocks(card.blocks, (button, el) => this.pressed(button, el, card)))
    const said = [...this.entries.values()].filter((entry) => entry.thread === this.id).sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : (a.n || 1e15) - (b.n || 1e15)))
    const heading = card.blocks.find((b) => b.b === 'heading') || card.blocks.find((b) => b.b === 'text')
    $('thread-title').textContent = heading?.text || ''
    $('thread-buttons').replaceChildren(...drawBlocks(card.blocks.filter((b) => b.b === 'buttons').slice(0, 1), (button, el) => this.pressed(button, el, card)))
    let last = ''
    const items = []
    for (const entry of said) {
      const label = day(entry.at)
      if (label !== last && last) items.push(this.once(`day ${label}`, label, () => h('li', { class: 'day', role: 'separator' }, h('span', {}, label))))
      last = label
      items.push(this.once(entry.id, JSON.stringify([entry, language, this.left(entry) > 0]), () => this.item(entry)))
    }
    arrange($('log'), items)
    if (atEnd) scroll.stick()
  }

  // The element drawn for a key, drawn again only when what it shows has changed.
  once(key, state, draw) {
    const known = this.drawn.get(key)
    if (known?.state === state) return known.el
    const el = draw()
    this.drawn.set(key, { state, el })
    return el
  }

  pressed(button, el, entry) {
    el.disabled = true
    setTimeout(() => { el.disabled = false }, 4000)
    this.press(button, this.id, entry.id)
  }

  item(entry) {
    const own = entry.from === this.line.you
    let { role, name, blocks } = spoken(entry)
    if (role === 'agent' && entry.from) {
      const mode = modeOf(wordsOf(blocks))
      role = mode === 'reply' ? 'agent' : mode
    }
    name = own ? t('you') : name || { agent: t('agent'), note: t('agent'), command: t('agent'), customer: t('customer'), bot: t('bot'), private: t('only_you') }[role] || ''
    blocks = role === 'note' ? stripped(blocks) : unquoted(blocks, role)
    return h('li', { class: `said ${role}${own ? ' own' : ''}${entry.mark === 'withdrawn' ? ' withdrawn' : ''}`, 'data-test': `said-${role}`, 'data-id': entry.id, 'data-mark': entry.mark || null },
      role === 'system' ? null : this.face(entry, role, name),
      h('div', { class: 'said-body' },
        h('div', { class: 'said-head' }, name ? h('strong', {}, name) : null, role === 'note' ? h('span', { class: 'tag' }, icon('lock', 12), t('note')) : null,
          h('time', { datetime: entry.at }, clock(entry.at)), entry.edited ? h('span', {}, t('edited')) : null),
        h('div', { class: 'said-blocks' }, drawBlocks(blocks, (button, el) => this.pressed(button, el, entry))),
        role === 'agent' && entry.from ? this.delivery(entry, own) : null))
  }

  face(entry, role, name) {
    const sign = { customer: 'web', bot: 'spark', private: 'lock', info: 'spark' }[role]
    if (sign) return h('span', { class: `face ${role}`, 'aria-hidden': 'true' }, icon(sign, 16))
    const known = entry.name || spoken(entry).name
    const letters = [...(known || (entry.from === this.line.you ? t('you') : entry.from.slice(2, 4)))].slice(0, known || entry.from === this.line.you ? 1 : 2).join('').toUpperCase()
    const el = h('span', { class: 'face', 'aria-hidden': 'true', title: name }, letters)
    el.style.setProperty('--hue', hue(known || entry.from))
    return el
  }

  // Where a reply is: held (with a way back), gone, or failed.
  delivery(entry, own) {
    const left = this.left(entry)
    const foot = h('div', { class: `delivery ${entry.mark || ''}`, 'data-test': 'delivery', role: 'status' })
    const say = (name, words) => foot.append(icon(name, 14), h('span', {}, words))
    if (entry.mark === 'sent') say('check', t('sent'))
    else if (entry.mark === 'failed') say('alert', t('failed'))
    else if (entry.mark === 'unknown') say('alert', t('unknown'))
    else if (entry.mark === 'withdrawn') say('undo', t('withdrawn'))
    else if (entry.waiting) say('clock', t('sending'))
    else if (entry.mark === 'held' || left > 0) {
      foot.classList.add('held')
      foot.dataset.until = String(Date.now() + left * 1000)
      say('clock', left > 0 ? t('held', { n: Math.ceil(left) }) : t('held_soon'))
      if (own && left > 0) {
        foot.append(h('button', { type: 'button', class: 'link', 'data-test': 'undo', onclick: () => this.undo(entry) }, t('undo')),
          h('button', { type: 'button', class: 'link', 'data-test': 'edit', onclick: () => this.edit(entry) }, t('edit')))
      }
    } else return null
    return foot
  }

  left(entry) {
    const since = new Date(entry.mark === 'held' && entry.marked ? entry.marked : entry.at)
    return Math.max(0, config.hold_s - (Date.now() - since) / 1000)
  }

  // Each second: the seconds that are left.
  tick() {
    for (const el of $('log').querySelectorAll('.delivery.held')) {
      const left = (Number(el.dataset.until) - Date.now()) / 1000
      if (left <= 0 && el.querySelector('button')) { this.draw(); return }
      if (left > 0) el.querySelector('span').textContent = t('held', { n: Math.ceil(left) })
    }
  }

  undo(entry) {
    this.line.send({ t: 'delete', room: 'staff', thread: this.id, target: entry.id })
    if (!this.box.value.trim()) { this.box.value = wordsOf(entry.blocks); this.typed(); this.fit(); this.box.focus() }
  }

  edit(entry) {
    this.edits = entry.id
    $('editing').hidden = false
    this.box.value = (entry.blocks.find((b) => b.b === 'text') || {}).text || ''
    this.typed()
    this.fit()
    this.box.focus()
  }

  stopEditing(text = '') {
    this.edits = ''
    $('editing').hidden = true
    this.box.value = text
    this.typed()
    this.fit()
  }

  say() {
    const text = this.box.value.trim()
    if (!text) return
    const where = { room: 'staff', thread: this.id, text }
    if (this.edits) this.line.send({ t: 'edit', target: this.edits, ...where })
    else {
      const id = `${this.line.you}:${this.line.send({ t: 'say', ...where })}`
      if (!this.entries.has(id)) this.entries.set(id, { id, type: 'message', from: this.line.you, thread: this.id, at: new Date().toISOString(), waiting: true, blocks: [{ b: 'text', text }] })
    }
    this.drafts.delete(this.id)
    this.stopEditing()
    this.problem('')
    this.draw(true)
  }

  refused({ id, why, final, frame }) {
    this.problem(why)
    if (!final || frame?.t !== 'say') return
    this.entries.delete(`${this.line.you}:${id}`)
    if (!this.box.value) { this.box.value = frame.text; this.typed() }
    if (this.id) this.draw()
  }

  problem(why) {
    $('problem').hidden = !why || why === 'later'
    $('problem').textContent = why ? t(`why_${why}`) : ''
  }

  typed() {
    const mode = this.box.value.trim() ? modeOf(this.box.value) : config.reply_mode === 'explicit' ? 'note' : 'reply'
    $('composer').dataset.mode = mode
    $('send').disabled = !this.box.value.trim()
    $('as-reply').setAttribute('aria-pressed', String(mode === 'reply'))
    $('as-note').setAttribute('aria-pressed', String(mode === 'note'))
    const explicit = config.reply_mode === 'explicit' && mode === 'note' && !NOTE.test(this.box.value)
    $('hint').textContent = t(explicit ? 'explicit_hint' : `${mode}_hint`)
  }

  switchTo(mode) {
    const bare = this.box.value.replace(NOTE, '').replace(REPLY, '').trimStart()
    const explicit = config.reply_mode === 'explicit'
    this.box.value = mode === 'note' ? (explicit ? bare : `// ${bare}`) : (explicit ? `> ${bare}` : bare)
    this.typed()
    this.fit()
    this.box.focus()
  }
}

// A note is shown without the sign that made it one; a customer's words without the quotation bar.
const stripped = (blocks) => blocks.map((b, i) => (i === 0 && b.b === 'text' ? { ...b, text: b.text.replace(NOTE, '').trimStart() } : b))
const unquoted = (blocks, role) => (role === 'customer' || role === 'bot' ? blocks.map((b) => (b.b === 'text' ? { ...b, quote: false } : b)) : blocks)
