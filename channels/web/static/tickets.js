// The list of tickets. What it shows is read from the card's own blocks and from what was said in the thread.

import { h, icon, keep, kept, span, statusWords, t, wordsOf } from './common.js'

const CHANNELS = [['telegram', /telegram|电报/i], ['mail', /e-?mail|邮件|邮箱|@[\w-]+\.\w/i], ['slack', /slack/i], ['web', /\bweb|chat|网页|网站|在线/i]]

export function statusOf(card) {
  const values = (card.blocks || []).flatMap((b) => (b.b === 'fields' ? b.pairs.map((p) => p[1]) : b.b === 'text' ? b.text.split(/\s*[·|,，\n]\s*/) : []))
  for (const value of values) {
    const word = value.replace(/^[^\p{L}]+/u, '').trim().toLowerCase()
    const found = statusWords().find(([, words]) => words.includes(word))
    if (found) return { status: found[0], word: value.trim() }
  }
  return { status: '', word: '' }
}

// Who speaks in a thread. What is relayed into it begins with a small line that names the speaker: "Sofia:",
// "Ada → customer:", "Ada (note):". A small line alone tells what happened; anything richer is information.
const SPEAKER = /^(.{1,160})[:：]$/
const BOT = /^(bot|机器人)$/i
const NOTED = /[(（](note|备注)[)）]$/i
const TELLS = /^(before this ticket|automatic message|此工单之前|自动|[^\p{L}\p{N}])/iu
const NAMELESS = /^(v:[0-9a-f]{32}|web-[0-9a-f]{6})$/

export function spoken(entry) {
  const blocks = entry.blocks || []
  if (entry.private) return { role: 'private', name: '', blocks }
  if (entry.from) return { role: 'agent', name: entry.name || '', blocks }
  const [first, ...rest] = blocks
  const label = first?.b === 'text' && first.small && rest.length ? SPEAKER.exec(first.text.trim())?.[1] : ''
  if (label && !TELLS.test(label)) {
    if (NOTED.test(label)) return { role: 'note', name: label.replace(NOTED, '').trim(), blocks: rest }
    if (label.includes('→')) {
      const name = label.split('→')[0].trim()
      return BOT.test(name) ? { role: 'bot', name: '', blocks: rest } : { role: 'agent', name, blocks: rest }
    }
    return { role: 'customer', name: NAMELESS.test(label) ? '' : label, blocks: rest }
  }
  if (blocks.some((b) => b.b === 'text' && b.quote) && !first.small) return { role: entry.automatic ? 'bot' : 'customer', name: '', blocks }
  const plain = blocks.every((b) => b.b === 'text' && b.text.length < 240)
  return { role: plain && blocks.length < 2 ? 'system' : 'info', name: '', blocks }
}

const roleOf = (entry) => spoken(entry).role

export class Tickets {
  constructor(list, { none, pick }) {
    this.list = list
    this.none = none
    this.pick = pick
    this.known = new Map()
    this.chosen = ''
    this.filter = ''
    this.all = false
    try { this.read = JSON.parse(kept('wh-read') || '{}') } catch { this.read = {} }
  }

  has(id) { return this.known.has(id) }

  update(id, entries, you) {
    const card = entries.find((entry) => entry.id === id && entry.card)
    if (!card) return
    const said = entries.filter((entry) => entry !== card && !entry.private)
    const talk = said.filter((entry) => ['customer', 'agent'].includes(roleOf(entry)) && entry.mark !== 'withdrawn')
    const last = talk[talk.length - 1]
    let asked = null
    for (const entry of talk) {
      if (roleOf(entry) === 'customer') asked ??= entry.at
      else if (!wordsOf(entry.blocks).startsWith('//')) asked = null
    }
    const heading = card.blocks.find((b) => b.b === 'heading') || card.blocks.find((b) => b.b === 'text')
    const quote = card.blocks.find((b) => b.b === 'text' && b.quote) || card.blocks.find((b) => b.b === 'text' && b !== heading)
    const words = `${card.subject || ''} ${wordsOf(card.blocks)}`
    const aside = wordsOf(card.blocks.filter((b) => b.small))
    const pairs = card.blocks.filter((b) => b.b === 'fields').flatMap((b) => b.pairs.map((p) => p[1]))
    const { status, word } = statusOf(card)
    this.known.set(id, {
      id, status, word, words: `${words} ${wordsOf(talk.flatMap((e) => e.blocks))}`.toLowerCase(),
      title: heading?.text.split('\n')[0] || id,
      preview: last ? `${roleOf(last) === 'agent' ? `${last.from === you ? t('you') : spoken(last).name || t('agent')}: ` : ''}${wordsOf(spoken(last).blocks)}` : quote?.text || '',
      channel: (CHANNELS.find(([, pattern]) => pairs.some((value) => pattern.test(value))) || CHANNELS.find(([, pattern]) => pattern.test(aside)) || ['web'])[0],
      at: last?.at || card.at, asked: status === 'closed' ? null : talk.length ? asked : card.at,
      newest: Math.max(0, ...said.filter((e) => e.from !== you).map((e) => e.n)),
      count: Math.max(said.filter((e) => e.from !== you && e.n > (this.read[id] || 0)).length, this.read[id] ? 0 : 1),
    })
    if (id === this.chosen && !document.hidden) this.seen(id)
  }

  seen(id) {
    const ticket = this.known.get(id)
    if (!ticket) return
    this.read[id] = Math.max(ticket.newest, Number(id.split(':').pop()) || 1)
    ticket.count = 0
    keep('wh-read', JSON.stringify(this.read))
  }

  choose(id) {
    this.chosen = id
    this.seen(id)
    this.draw()
  }

  draw() {
    const wanted = this.filter.trim().toLowerCase()
    const tickets = [...this.known.values()]
      .filter((ticket) => (this.all || ticket.status !== 'closed' || ticket.id === this.chosen) && (!wanted || ticket.words.includes(wanted)))
      .sort((a, b) => (a.at < b.at ? 1 : -1))
    this.none.hidden = tickets.length > 0
    const focused = document.activeElement?.dataset?.id
    this.list.replaceChildren(...tickets.map((ticket) => this.item(ticket)))
    if (focused) this.list.querySelector(`[data-id="${CSS.escape(focused)}"]`)?.focus()
  }

  item(ticket) {
    return h('li', {}, h('button', { type: 'button', class: `ticket${ticket.count ? ' fresh' : ''}`, 'data-test': 'ticket', 'data-id': ticket.id, 'aria-current': ticket.id === this.chosen ? 'true' : null, onclick: () => this.pick(ticket.id) },
      h('span', { class: `channel ${ticket.channel}`, title: ticket.channel }, icon(ticket.channel, 18)),
      h('span', { class: 'ticket-body' },
        h('span', { class: 'ticket-top' }, h('strong', { dir: 'auto' }, ticket.title), h('time', { datetime: ticket.at }, span(ticket.at))),
        ticket.preview ? h('span', { class: 'preview', dir: 'auto' }, ticket.preview) : null,
        h('span', { class: 'ticket-foot' },
          ticket.word ? h('span', { class: `status ${ticket.status}`, 'data-test': 'status' }, ticket.word) : null,
          ticket.asked && Date.now() - new Date(ticket.asked) > 60000 ? h('span', { class: 'waiting', 'data-since': ticket.asked }, t('waiting', { t: span(ticket.asked) })) : null,
          ticket.count ? h('span', { class: 'badge', 'aria-label': t('unread', { n: ticket.count }), 'data-test': 'unread' }, String(ticket.count)) : null))))
  }

  // Times grow old by themselves.
  tick() {
    for (const el of this.list.querySelectorAll('.waiting')) {
      const words = t('waiting', { t: span(el.dataset.since) })
      if (el.textContent !== words) el.textContent = words
    }
    for (const el of this.list.querySelectorAll('time')) {
      const words = span(el.dateTime)
      if (el.textContent !== words) el.textContent = words
    }
  }
}
