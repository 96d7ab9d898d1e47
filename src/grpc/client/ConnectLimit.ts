/**
 * Ends connections that do not come about. grpc-js (1.14.7) knows no limit for them, and never calls the `shutdown` of its
 * `Http2SubchannelConnector`: where a channel is closed while it connects to a peer that accepts and says nothing, the socket
 * stays open for as long as the peer lives, and with TLS the process stays as well.
 *
 * The credentials of a channel make one secure connector for each of its subchannels. It is handed every socket once that is
 * connected by TCP, before the handshake of TLS and the first bytes of HTTP/2, and is told when the subchannel is let go.
 * What comes before, TCP itself and the answer of an HTTP proxy, is not seen here; the system gives TCP up by itself.
 */
import * as grpc from "@grpc/grpc-js"
import * as Callbacks from "../Callbacks.js"

type Connector = ReturnType<grpc.ChannelCredentials["_createSecureConnector"]>
type Socket = Parameters<Connector["connect"]>[0]

const once = (socket: Socket, name: "close" | "error", then: () => void): void =>
  void socket.once(
    name,
    Callbacks.of(then, () => {})
  )

/**
 * The last part of the limit begins when the part before has passed: after the process stood still, timers run before what
 * arrived meanwhile is read.
 */
const LAST_MILLIS = 1_000

class LimitedConnector implements Connector {
  private isDestroyed = false
  /** Of the socket that was handed over last, until its limit has passed or it is closed. */
  private giveUp: ((why: string) => void) | undefined = undefined

  constructor(
    private readonly inner: Connector,
    private readonly millis: number
  ) {}

  connect(socket: Socket): ReturnType<Connector["connect"]> {
    // grpc-js destroys the socket of a failed handshake.
    if (this.isDestroyed) return Promise.reject(new Error("the channel was closed"))
    return new Promise((resolve, reject) => {
      const readBefore = socket.bytesRead
      let secured: Socket | undefined
      const forget = () => {
        clearTimeout(timer)
        if (this.giveUp === giveUp) this.giveUp = undefined
      }
      const giveUp = (why: string) => {
        forget()
        // A server begins with its SETTINGS.
        if (secured !== undefined && secured.bytesRead > (secured === socket ? readBefore : 0)) return
        const error = new Error(why)
        const ended = secured ?? socket
        once(ended, "error", () => {})
        ended.destroy(error)
        reject(error)
      }
      const last = Math.min(LAST_MILLIS, this.millis / 2)
      const lastPart = () => {
        timer = setTimeout(giveUp, last, "the server said nothing in time").unref()
      }
      let timer = setTimeout(lastPart, this.millis - last).unref()
      this.giveUp = giveUp
      once(socket, "close", forget)
      this.inner.connect(socket).then((result) => {
        secured = result.socket
        resolve(result)
      }, reject)
    })
  }

  waitForReady(): Promise<void> {
    return this.inner.waitForReady()
  }

  getCallCredentials(): grpc.CallCredentials {
    return this.inner.getCallCredentials()
  }

  destroy(): void {
    this.isDestroyed = true
    this.giveUp?.("the channel was closed")
    this.inner.destroy()
  }
}

class LimitedCredentials extends grpc.ChannelCredentials {
  constructor(
    private readonly inner: grpc.ChannelCredentials,
    private readonly millis: number
  ) {
    super()
  }

  _isSecure(): boolean {
    return this.inner._isSecure()
  }

  _equals(other: grpc.ChannelCredentials): boolean {
    return this === other
  }

  _createSecureConnector(...args: Parameters<grpc.ChannelCredentials["_createSecureConnector"]>): Connector {
    return new LimitedConnector(this.inner._createSecureConnector(...args), this.millis)
  }
}

/**
 * The same credentials, with a limit: a connection on which the server said nothing within `millis`, counted from when it
 * accepted, fails, as does one whose channel is closed before. What was connected in time is left alone, and forgotten.
 */
export const of = (credentials: grpc.ChannelCredentials, millis: number): grpc.ChannelCredentials =>
  new LimitedCredentials(credentials, millis)
