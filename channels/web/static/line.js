// The live line to the server. What is sent stays in a queue until it is acknowledged, over reconnects and reloads.

import { config, keep, kept, language } from './common.js'

const PING_MS = 20000
const TRIES_BEFORE_POLLING = 2

const newId = () => [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, '0')).join('')

// Events: 'state' (detail true when connected), 'access', 'entry' ({room, entry}), 'seen', 'ack' ({id, event}), 'no' ({id, why, final}).
export class Line extends EventTarget {
  constructor(path) {
    super()
    this.path = path
    this.cursors = { self: 0, staff: 0 }
    this.you = ''
    this.access = null
    this.online = false
    this.queue = this.#restored()
    this.failures = 0
    this.delay = 500
  }

  start() {
    window.addEventListener('online', () => this.#connect())
    this.#connect()
    setInterval(() => this.#ping(), PING_MS)
  }

  // Queue a frame; returns its id.
  send(frame, files = []) {
    const item = { frame: { id: newId(), lang: language, ...frame }, files, at: new Date().toISOString() }
    this.queue.push(item)
    this.#persist()
    this.#flush()
    return item.frame.id
  }

  forget(id) {
    this.queue = this.queue.filter((item) => item.frame.id !== id)
    this.#persist()
  }

  retry(id) {
    const item = this.queue.find((item) => item.frame.id === id)
    if (item) { item.refused = false; this.#flush() }
  }

  #tell(name, detail) { this.dispatchEvent(new CustomEvent(name, { detail })) }

  #key() { return `wh-queue-${this.path}` }

  #restored() {
    try { return JSON.parse(sessionStorage.getItem(this.#key()) || '[]') } catch { return [] }
  }

  #persist() {
    const plain = this.queue.filter((item) => !item.files?.length).map(({ frame, at }) => ({ frame, at, files: [] }))
    try { sessionStorage.setItem(this.#key(), JSON.stringify(plain)) } catch { /* private mode */ }
  }

  #token() { return kept(`wh-token-${this.path}`) || '' }

  #connect() {
    if (this.socket && this.socket.readyState < 2) return
    clearTimeout(this.timer)
    if (this.failures >= TRIES_BEFORE_POLLING) return this.#poll()
    const url = new URL(`${this.path}/ws`, location.href)
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:'
    const socket = this.socket = new WebSocket(url)
    let opened = false
    socket.onopen = () => socket.send(JSON.stringify({ t: 'hello', lang: language, token: this.#token(), ...this.cursors }))
    socket.onmessage = (event) => {
      const frame = JSON.parse(event.data)
      this.heard = Date.now()
      if (frame.t === 'welcome') { opened = true; this.failures = 0; this.delay = 500 }
      this.#take(frame)
    }
    socket.onclose = () => {
      if (this.socket !== socket) return
      this.socket = null
      for (const item of this.queue) item.going = false
      if (!opened) this.failures += 1
      this.#state(false)
      this.timer = setTimeout(() => this.#connect(), this.delay * (0.7 + Math.random() * 0.6))
      this.delay = Math.min(this.delay * 2, 15000)
    }
  }

  #headers() { const token = this.#token(); return token ? { Authorization: `Bearer ${token}` } : {} }

  async #poll() {
    if (this.polling) return
    this.polling = true
    try {
      const seen = this.access === null ? '' : `&staff_seen=${this.access ? 1 : 0}`
      const now = this.online ? '' : '&now=1'
      const response = await fetch(`${this.path}/poll?self=${this.cursors.self}&staff=${this.cursors.staff}${seen}${now}`, { headers: this.#headers() })
      if (!response.ok) throw new Error(String(response.status))
      for (const frame of await response.json()) this.#take(frame)
      this.delay = 500
      this.timer = setTimeout(() => this.#connect(), 50)
    } catch {
      this.#state(false)
      this.failures = 0
      this.timer = setTimeout(() => this.#connect(), this.delay)
      this.delay = Math.min(this.delay * 2, 15000)
    } finally {
      this.polling = false
    }
  }

  #state(online) {
    if (online !== this.online) { this.online = online; this.#tell('state', online) }
  }

  #take(frame) {
    switch (frame.t) {
      case 'welcome':
        this.you = frame.you
        if (frame.token) keep(`wh-token-${this.path}`, frame.token)
        this.#state(true)
        this.#flush()
        break
      case 'access':
        this.access = frame.staff
        this.#tell('access', frame.staff)
        break
      case 'entries':
        this.cursors[frame.room] = frame.n
        for (const entry of frame.entries) this.#tell('entry', { room: frame.room, entry })
        break
      case 'seen':
        this.#tell('seen')
        break
      case 'ack': case 'no':
        this.#answered(frame)
    }
  }

  #answered(frame) {
    const item = this.queue.find((item) => item.frame.id === frame.id)
    if (!item) return
    item.going = false
    if (frame.t === 'ack') {
      this.forget(frame.id)
      this.#tell('ack', { id: frame.id, event: frame.event, frame: item.frame })
    } else if (frame.why === 'later' || frame.why === 'slow_down') {
      this.#tell('no', { id: frame.id, why: frame.why, final: false })
      setTimeout(() => this.#flush(), Math.max(1, frame.after_s || 2) * 1000)
    } else {
      item.refused = true
      this.forget(frame.id)
      this.#tell('no', { id: frame.id, why: frame.why, final: true, frame: item.frame })
    }
  }

  #flush() {
    if (!this.online) return
    for (const item of this.queue) {
      if (item.going || item.refused) continue
      item.going = true
      if (item.files?.length || !this.socket) this.#post(item)
      else this.socket.send(JSON.stringify(item.frame))
    }
  }

  async #post(item) {
    try {
      let body = JSON.stringify(item.frame)
      if (item.files?.length) {
        body = new FormData()
        body.append('frame', JSON.stringify(item.frame))
        for (const file of item.files) body.append('file', file, file.name)
      }
      const response = await fetch(`${this.path}/say`, { method: 'POST', body, headers: this.#headers() })
      if (!response.ok) throw new Error(String(response.status))
      const answer = await response.json()
      this.#answered({ ...answer, id: item.frame.id })
    } catch {
      item.going = false
      setTimeout(() => this.#flush(), 3000)
    }
  }

  #ping() {
    if (this.socket?.readyState !== 1) return
    if (Date.now() - (this.heard || 0) > 3 * PING_MS) this.socket.close()
    else this.socket.send('{"t":"ping"}')
  }
}
