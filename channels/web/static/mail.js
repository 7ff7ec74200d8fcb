// The mails that the demo's outbox holds.

import { config, day, clock, fillIcons, h, languageSwitch, linked, loadWords, onLanguage, t } from './common.js'

const $ = (id) => document.getElementById(id)
let mails = []
let chosen = -1
let formatted = true

const when = (date) => (Number.isNaN(Date.parse(date)) ? date : `${day(date)} ${clock(date)}`)
const name = (address) => address.replace(/\s*<[^>]*>\s*$/, '').replace(/^"|"$/g, '') || address

function list() {
  $('list').replaceChildren(...mails.map((mail, i) => h('li', {}, h('button', { type: 'button', class: 'mail-item', 'aria-current': i === chosen ? 'true' : null, 'data-test': 'mail-item', onclick: () => { chosen = i; draw() } },
    h('span', {}, h('b', {}, name(mail.to)), h('time', {}, when(mail.date))), h('strong', { dir: 'auto' }, mail.subject || t('no_subject')), h('small', { dir: 'auto' }, mail.text.slice(0, 140))))).reverse())
}

function draw() {
  list()
  const mail = mails[chosen]
  if (!mail) {
    $('mail').replaceChildren(h('div', { class: 'mail-none' }, h('strong', {}, t(mails.length ? 'mail_pick' : 'mail_empty')), mails.length ? '' : t('mail_empty_text')))
    return
  }
  const html = mail.html && formatted
  const choose = (value) => h('button', { type: 'button', 'aria-pressed': String(value === html), onclick: () => { formatted = value; draw() } }, t(value ? 'mail_html' : 'mail_text'))
  $('mail').replaceChildren(
    h('header', { class: 'mail-head' },
      h('div', { class: 'row' }, h('h2', { dir: 'auto' }, mail.subject || t('no_subject')), mail.html ? h('div', { class: 'switch', role: 'group' }, choose(true), choose(false)) : null),
      h('dl', {}, h('dt', {}, t('mail_from')), h('dd', {}, mail.from), h('dt', {}, t('mail_to')), h('dd', {}, mail.to), h('dt', {}, ''), h('dd', { class: 'small' }, when(mail.date)))),
    h('div', { class: 'mail-body' }, html ? h('iframe', { src: `${config.demo}/mail/${chosen}`, sandbox: 'allow-popups', title: mail.subject || t('no_subject') }) : h('pre', { dir: 'auto' }, linked(mail.text))))
}

async function load() {
  const fresh = await (await fetch(`${config.demo}/mail/list`)).json()
  if (fresh.length === mails.length) return
  mails = fresh
  if (chosen < 0) { chosen = mails.length - 1; draw() } else list()
}

async function open() {
  await loadWords()
  fillIcons()
  document.title = `${t('mail_title')} · ${config.title}`
  $('home').href = config.demo
  languageSwitch($('language'))
  onLanguage(draw)
  draw()
  await load()
  setInterval(() => load().catch(() => {}), 2000)
}

open()
