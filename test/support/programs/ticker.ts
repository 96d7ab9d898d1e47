/**
 * Says `tick 1`, `tick 2` and so on, until SIGTERM: then it says `bye` and ends with TICKER_CODE. With TICKER_LAST it
 * ends by itself after so many, in the middle of a line. With TICKER_PORT it ticks to that port of this machine.
 */
import { connect } from "node:net"

const code = Number(process.env.TICKER_CODE ?? "0")
const last = Number(process.env.TICKER_LAST ?? "Infinity")
const port = process.env.TICKER_PORT

const output = port === undefined ? process.stdout : connect(Number(port), "127.0.0.1")

let ticks = 0
const timer = setInterval(() => {
  ticks++
  output.write(ticks < last ? `tick ${ticks}\n` : "half a li")
  if (ticks >= last) clearInterval(timer)
}, 20)

process.once("SIGTERM", () => {
  clearInterval(timer)
  process.stderr.write("bye\n")
  process.exitCode = code
})
