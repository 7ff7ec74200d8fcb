// The demo: both pages side by side, and what to try.

import { config, fillIcons, h, language, languageSwitch, loadWords, onLanguage, t } from './common.js'

const $ = (id) => document.getElementById(id)

function show(side) {
  $('stage').dataset.show = side
  $('tab-customer').setAttribute('aria-selected', String(side === 'customer'))
  $('tab-staff').setAttribute('aria-selected', String(side === 'staff'))
}

// Words in `backquotes` can be clicked: they are put into the box they are meant for.
function offer(words) {
  return h('button', {
    type: 'button', class: 'offer', 'data-test': 'offer',
    onclick: () => {
      const staff = words.startsWith('/')
      show(staff ? 'staff' : 'customer')
      $(staff ? 'team' : 'customer').contentWindow.postMessage({ type: 'wh-try', text: words }, location.origin)
    },
  }, words)
}

function hints() {
  const lines = config.hints[language] || config.hints[''] || Object.values(config.hints)[0] || []
  $('hints').hidden = !lines.length
  $('hints').replaceChildren(...lines.map((line, i) => h('li', {}, h('b', { 'aria-hidden': 'true' }, String(i + 1)), h('p', {}, line.split('`').map((part, j) => (j % 2 ? offer(part) : part))))))
}

function titles() {
  $('customer').title = t('demo_customer')
  $('team').title = t('demo_staff')
}

async function open() {
  await loadWords()
  fillIcons()
  languageSwitch($('language'))
  onLanguage(() => { hints(); titles() })
  $('mail').href = `${config.demo}/mail`
  $('customer').src = config.chat
  $('team').src = config.code ? `${config.staff}?code=${encodeURIComponent(config.code)}` : config.staff
  if (config.code) history.replaceState(null, '', location.pathname)
  $('tab-customer').addEventListener('click', () => show('customer'))
  $('tab-staff').addEventListener('click', () => show('staff'))
  hints()
  titles()
}

open()
