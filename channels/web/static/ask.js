// The command box: suggestions from the commands that exist, the arrow keys, what was asked before.

import { config, h, language } from './common.js'

export function commandBox(box, list, send) {
  const before = []
  let at = -1
  let chosen = -1

  const known = () => Object.entries(config.commands?.[language] || config.commands?.en || {})

  function suggest() {
    const text = box.value
    const found = /^[/!]\S*$/.test(text) ? known().filter(([name]) => name.startsWith(text.slice(1).toLowerCase())).slice(0, 9) : []
    chosen = -1
    list.hidden = !found.length
    box.setAttribute('aria-expanded', String(Boolean(found.length)))
    list.replaceChildren(...found.map(([name, words], i) => h('li', {
      id: `suggestion-${i}`, role: 'option', 'data-name': name, 'aria-selected': 'false',
      onmousedown: (event) => { event.preventDefault(); take(name) },
    }, h('b', {}, `/${name}`), h('span', {}, words))))
  }

  function take(name) {
    box.value = `/${name} `
    hide()
    box.focus()
  }

  function hide() {
    list.hidden = true
    chosen = -1
    box.setAttribute('aria-expanded', 'false')
    box.removeAttribute('aria-activedescendant')
  }

  function move(step) {
    const items = [...list.children]
    chosen = (chosen + step + items.length) % items.length
    items.forEach((item, i) => item.setAttribute('aria-selected', String(i === chosen)))
    box.setAttribute('aria-activedescendant', items[chosen].id)
  }

  box.addEventListener('input', suggest)
  box.addEventListener('blur', hide)
  box.addEventListener('keydown', (event) => {
    if (event.isComposing) return
    const open = !list.hidden
    if (event.key === 'Escape') { if (open) { hide(); event.stopPropagation() } else box.blur() }
    else if (open && (event.key === 'ArrowDown' || event.key === 'ArrowUp')) { event.preventDefault(); move(event.key === 'ArrowDown' ? 1 : -1) }
    else if (open && (event.key === 'Tab' || (event.key === 'Enter' && chosen >= 0))) {
      event.preventDefault()
      take(list.children[Math.max(0, chosen)].dataset.name)
    } else if (!open && event.key === 'ArrowUp' && before.length) {
      event.preventDefault()
      at = at < 0 ? before.length - 1 : Math.max(0, at - 1)
      box.value = before[at]
    }
  })

  return {
    send() {
      const text = box.value.trim()
      if (!text) return
      before.push(text)
      at = -1
      box.value = ''
      hide()
      send(text)
    },
  }
}
