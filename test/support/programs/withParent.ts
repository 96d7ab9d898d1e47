/** Imported before a program: kills it when its input closes, as it does with the process that started it. */
import { Socket } from "node:net"

const parent = new Socket({ fd: 0 })
parent.on("error", () => {})
parent.on("close", () => process.kill(process.pid, "SIGKILL"))
parent.resume()
// No reason to stay alive.
parent.unref()
