// The bubble for other people's websites: <script src="https://…/widget.js" async></script>
// Nothing of the site is read; the chat lives in a frame of our own, loaded when the bubble is opened first.
(() => {
  const setUp = ["{{set_up}}"]
  const [path, title, accent] = setUp
  const script = document.currentScript
  const origin = new URL(script.src).origin
  if (document.getElementById('wellheard-chat')) return
  const host = document.createElement('div')
  host.id = 'wellheard-chat'
  const root = host.attachShadow({ mode: 'closed' })
  const sheet = new CSSStyleSheet()
  sheet.replaceSync(`
    :host { all: initial; }
    button { position: fixed; right: 20px; bottom: 20px; width: 60px; height: 60px; border: 0; border-radius: 50%; background: ${accent}; color: #fff; cursor: pointer; box-shadow: 0 8px 24px rgb(0 0 0 / .25); display: grid; place-items: center; z-index: 2147483000; transition: transform .15s; }
    button:hover { transform: scale(1.05); } button:focus-visible { outline: 3px solid ${accent}; outline-offset: 3px; }
    svg { width: 28px; height: 28px; fill: none; stroke: currentColor; stroke-width: 2; stroke-linecap: round; stroke-linejoin: round; }
    .new::after { content: ""; position: absolute; top: 4px; right: 4px; width: 13px; height: 13px; border-radius: 50%; background: #e5484d; border: 2px solid #fff; }
    iframe { position: fixed; right: 20px; bottom: 94px; width: min(400px, calc(100vw - 40px)); height: min(640px, calc(100vh - 120px)); border: 0; border-radius: 18px; box-shadow: 0 16px 48px rgb(0 0 0 / .28); z-index: 2147483000; background: #f5f6f8; color-scheme: normal; }
    iframe[hidden] { display: none; }
    @media (max-width: 480px) { iframe { inset: 0 0 84px 0; width: 100vw; height: calc(100dvh - 84px); border-radius: 0; } }`)
  root.adoptedStyleSheets = [sheet]
  const shape = (d) => {
    const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg')
    svg.setAttribute('viewBox', '0 0 24 24')
    const line = document.createElementNS('http://www.w3.org/2000/svg', 'path')
    line.setAttribute('d', d)
    svg.append(line)
    return svg
  }
  const button = document.createElement('button')
  button.type = 'button'
  button.setAttribute('aria-label', title)
  button.setAttribute('aria-expanded', 'false')
  const draw = (open) => button.replaceChildren(shape(open ? 'M6 9l6 6 6-6' : 'M4 5h16v11H11l-4 4v-4H4z'))
  let frame
  button.addEventListener('click', () => {
    if (!frame) {
      frame = document.createElement('iframe')
      frame.title = title
      frame.src = `${origin}${path}?embed=1`
      frame.hidden = true
      root.append(frame)
    }
    frame.hidden = !frame.hidden
    button.classList.remove('new')
    button.setAttribute('aria-expanded', String(!frame.hidden))
    draw(!frame.hidden)
    if (!frame.hidden) frame.focus()
  })
  window.addEventListener('message', (event) => {
    if (event.origin === origin && event.source === frame?.contentWindow && event.data?.type === 'wh-message' && frame.hidden) button.classList.add('new')
  })
  draw(false)
  root.append(button)
  document.body.append(host)
})()
