/**
 * The life of a lease, as a pure state machine: events in, actions out. Every rule of when to send a heartbeat, when to
 * register and when to abandon a key is here; which fiber sends it, on which stream, is not.
 *
 * A lease is lost (`lose`) when its deadline passes without an acknowledged heartbeat (`tick`, `renewed`, `healthy`), when
 * a heartbeat is refused (`refused`), and when the registry lists another instance under its key, or another service or none
 * under its id (`displaced`, `moved`). An overdue answer or a suspended machine makes it suspect only, and an answer that is
 * late renews it as long as its heartbeat was sent less than a TTL ago: the registry writes its database before it answers.
 *
 * Several heartbeats may be in flight, on several streams, and are answered in any order. They are not counted: an answer
 * counts (`onAnswer`) if none to a heartbeat sent later has come.
 *
 * All instants are monotonic milliseconds. `random` is 0 to 1, drawn by the caller.
 *
 * ```
 * Registering ──first heartbeat acknowledged──▶ Live ◀──acknowledged── Suspect
 *      ▲ ▲                                      │ └──answer overdue──────▲ │
 *      │ └─────────── (never back)              └──deadline, refused──▶ Lost ──acknowledged──▶ Live
 *      │ any but Draining and Stopped ──Pause──▶ Paused
 *      └──────────────Resume───────────────────────┘
 * any but Stopped ──Stop──▶ Draining ──Ended──▶ Stopped
 * ```
 */
import {
  awaiting,
  awaitsAnswer,
  awaitsRegistration,
  type Event,
  forget,
  heartbeatsLater,
  interval,
  isHeld,
  isKept,
  isRenewed,
  type Lease,
  NEVER,
  type RegisterReason,
  registerDelay,
  type Step
} from "./Lease.js"

/** Unhealthy for over half a TTL: heartbeats and registrations are suspended. */
const isSuspended = (lease: Lease, now: number): boolean => now - lease.unhealthySince > lease.ttl / 2

const suspect = (lease: Lease): Lease => (lease.status === "Live" ? { ...lease, status: "Suspect" } : lease)

const lose = (lease: Lease): Lease =>
  isHeld(lease) ? { ...lease, status: "Lost", deadline: Number.NEGATIVE_INFINITY } : lease

const register = (lease: Lease, wanted: RegisterReason, now: number): Step => {
  // A lease that is held is renewed meanwhile: the registration may be slow, or fail.
  const wanting = {
    ...lease,
    wanted,
    nextRegisterAt: NEVER,
    nextHeartbeatAt: isHeld(lease) ? lease.nextHeartbeatAt : NEVER
  }
  if (isSuspended(lease, now)) return [{ ...wanting, withheld: true }, []]
  return [
    { ...wanting, registering: true, keyAbandoned: false },
    [lease.keyAbandoned ? "RegisterUnderNewKey" : "Register"]
  ]
}

/** The answer to a heartbeat in flight says nothing: it is about another key, or about the time before a suspension. */
const disown = (lease: Lease, now: number): Lease => ({ ...forget(lease), provesFrom: now })

const abandonKey = (lease: Lease, now: number): Lease => ({
  ...disown(lease, now),
  keyAbandoned: true,
  refusals: 0
})

const heartbeat = (lease: Lease, now: number, outOfTurn: boolean): Step => {
  const due = { ...lease, nextHeartbeatAt: NEVER }
  if (awaitsAnswer(lease)) return [due, []]
  // A heartbeat that is suspended counts as missed.
  if (isSuspended(lease, now)) return [{ ...suspect(due), withheld: true }, []]
  return [awaiting({ ...due, outOfTurn }, now, now), ["Heartbeat"]]
}

const resend = (lease: Lease, now: number): Step => {
  const done = { ...suspect(lease), resendAt: NEVER }
  return isSuspended(lease, now) ? [done, []] : [{ ...done, askedAt: now }, ["Heartbeat"]]
}

/** A heartbeat sent later than this, as a part of the interval, is out of turn. */
const LATE = 0.1

const tick = (lease: Lease, now: number): Step => {
  const expired = isHeld(lease) && now >= lease.deadline
  const ended = expired ? lose(lease) : lease
  const current = expired && awaitsAnswer(lease) ? awaiting(ended, lease.askedAt, now) : ended
  if (expired && current.registering) return [{ ...current, nextHeartbeatAt: NEVER }, []]
  if (expired && current.registers) return register(current, "expired", now)
  if (now >= current.nextRegisterAt) return register(current, current.wanted ?? "expired", now)
  if (now >= current.resendAt) return resend(current, now)
  if (now < current.nextHeartbeatAt) return [current, []]
  const isLate = now - current.nextHeartbeatAt > interval(lease.ttl, lease.timing) * LATE
  return heartbeat(current, now, isLate || current.isRetry)
}

/** The heartbeat after one out of turn brings the lease back to its phase. */
const delayAfter = (lease: Lease, random: number): number =>
  interval(lease.ttl, lease.timing) *
  (lease.outOfTurn ? 1 - lease.phase : 1) *
  (1 - lease.timing.heartbeatJitter + lease.timing.heartbeatJitter * random)

/** Heartbeats fall due at whole steps, so many in an interval: 0.1 s for a TTL of 60 s. */
const STEPS = 200

/** Rounds down to a step, so that many leases share a wake-up, which costs more than a heartbeat. */
const together = (at: number, lease: Lease): number => {
  const step = interval(lease.ttl, lease.timing) / STEPS
  return Math.floor(at / step) * step
}

const plan = (lease: Lease, sentAt: number, random: number): Lease => ({
  ...lease,
  nextHeartbeatAt: together(sentAt + delayAfter(lease, random), lease)
})

const renewed = (lease: Lease, sentAt: number, now: number, random: number): Step => {
  const deadline = sentAt + lease.ttl
  const held: Lease = { ...lease, isRetry: false, setbacks: 0, registeredAt: NEVER, refusals: 0 }
  // The answer took longer than the lease runs: it proves nothing.
  if (now >= deadline) return awaitsRegistration(held) ? [lose(held), []] : heartbeat(lose(held), now, true)
  // A registration wanted because the lease was lost is not needed any more; one wanted by the list still is.
  const wanted = held.wanted === "absent" || held.registering ? held.wanted : undefined
  const live: Lease = {
    ...held,
    status: "Live",
    deadline,
    wanted,
    nextRegisterAt: wanted === undefined ? NEVER : held.nextRegisterAt
  }
  // The next one follows the answer to that in flight.
  if (awaitsAnswer(live)) return [{ ...awaiting(live, live.askedAt, now), nextHeartbeatAt: NEVER }, []]
  return [plan(live, sentAt, random), []]
}

/**
 * A dead key (deleted, or deregistered before): the server accepts its registration and refuses every heartbeat. Two such
 * rounds without a failed registration tell it from a heartbeat that lost a race and from a database that is down.
 */
const REFUSALS_OF_A_DEAD_KEY = 2

const refused = (lease: Lease, now: number, random: number): Step => {
  const lost: Lease = {
    ...lose(lease),
    nextHeartbeatAt: NEVER,
    isRetry: false,
    setbacks: lease.setbacks + 1,
    // Once for each registration.
    refusals: lease.registeredAt < NEVER ? lease.refusals + 1 : lease.refusals,
    registeredAt: NEVER
  }
  if (lost.registering) return [lost, []]
  if (!lost.registers)
    return [{ ...lost, nextHeartbeatAt: now + registerDelay(lease.setbacks, random, lease.timing) }, []]
  if (lost.refusals >= REFUSALS_OF_A_DEAD_KEY) return register(abandonKey(lost, now), "dead_key", now)
  // The first rounds at once, so that the instance is listed again within moments; later ones after a backoff.
  return lost.setbacks <= REFUSALS_OF_A_DEAD_KEY
    ? register(lost, "refused", now)
    : [
        {
          ...lost,
          wanted: "refused",
          nextRegisterAt: now + registerDelay(lost.setbacks - REFUSALS_OF_A_DEAD_KEY - 1, random, lease.timing)
        },
        []
      ]
}

const heartbeatLost = (lease: Lease, now: number, retryInMillis: number): Step => [
  {
    ...suspect(forget(lease)),
    isRetry: true,
    nextHeartbeatAt: heartbeatsLater(lease) ? NEVER : now + retryInMillis
  },
  []
]

const onAnswer = (
  lease: Lease,
  { _tag, sentAt }: Extract<Event, { readonly _tag: "Renewed" | "Refused" }>,
  now: number,
  random: number
): Step => {
  const landed = sentAt < lease.askedAt ? lease : forget(lease)
  if (!isKept(lease) || sentAt < lease.provesFrom) return [landed, []]
  const told = { ...landed, provesFrom: sentAt }
  if (_tag === "Renewed") return renewed(told, sentAt, now, random)
  // That of a heartbeat which was sent before the last registration comes too late.
  return lease.registeredAt < NEVER && sentAt < lease.registeredAt ? [told, []] : refused(told, now, random)
}

// At once, also while a heartbeat from before is unanswered, whose late acknowledgement counts.
const registered = (lease: Lease, now: number): Step => {
  const done: Lease = { ...forget(lease), registering: false }
  return isKept(lease)
    ? heartbeat({ ...done, wanted: undefined, nextRegisterAt: NEVER, registeredAt: now, absences: 0 }, now, true)
    : [done, []]
}

const registerFailed = (lease: Lease, now: number, random: number): Step => {
  const failed: Lease = { ...lease, registering: false }
  if (!isKept(lease)) return [failed, []]
  // Acknowledged meanwhile: the lease was not lost.
  if (isRenewed(failed)) return [{ ...failed, wanted: undefined }, []]
  return [
    {
      ...failed,
      setbacks: lease.setbacks + 1,
      // The server cannot register: its refusals say nothing against the key.
      registeredAt: NEVER,
      refusals: 0,
      nextRegisterAt: now + registerDelay(lease.setbacks, random, lease.timing)
    },
    []
  ]
}

const begin = (lease: Lease, now: number): Step => {
  const ready: Lease = { ...lease, ready: true }
  if (lease.ready || !isKept(lease)) return [ready, []]
  if (!lease.registers) return heartbeat(ready, now, true)
  return register(ready, lease.wanted ?? "first", now)
}

/** What a wait is cut to when the registry can be reached again: not to zero, since other clients wait as well. */
const RECONNECT_DELAY_MILLIS = 2_000

const reconnected = (lease: Lease, now: number, random: number): Step => {
  const sooner = (at: number) => (at === NEVER ? NEVER : Math.min(at, now + RECONNECT_DELAY_MILLIS * random))
  const isRetry = lease.isRetry || !isHeld(lease)
  return [
    {
      ...lease,
      nextHeartbeatAt: isRetry ? sooner(lease.nextHeartbeatAt) : lease.nextHeartbeatAt,
      nextRegisterAt: sooner(lease.nextRegisterAt)
    },
    []
  ]
}

// The server's clock ran on while ours stood still: only the answer to a heartbeat sent from now on tells whether the
// lease is still held.
const suspended = (lease: Lease, now: number): Step => {
  const disowned = disown(suspect(lease), now)
  const isDue = isHeld(lease) || (awaitsAnswer(lease) && !heartbeatsLater(lease))
  return isDue ? heartbeat(disowned, now, true) : [disowned, []]
}

const healthy = (lease: Lease, now: number): Step => {
  const healthyNow: Lease = { ...lease, unhealthySince: NEVER, withheld: false }
  if (!lease.withheld || !isKept(lease)) return [healthyNow, []]
  // No tick may have noticed the deadline while heartbeats were suspended.
  const current = isHeld(healthyNow) && now >= healthyNow.deadline ? lose(healthyNow) : healthyNow
  if (isHeld(current) || !current.registers) return heartbeat(current, now, true)
  if (awaitsRegistration(current)) return [current, []]
  return register(current, current.wanted ?? "expired", now)
}

/** The registry's list counts only while the lease is held and no registration is due anyway. */
const isComparable = (lease: Lease): boolean => isHeld(lease) && lease.registers && !awaitsRegistration(lease)

/** A flushed cache lists an instance from its next heartbeat on: the first absence only asks for a heartbeat. */
const ABSENCES_OF_A_LOST_RECORD = 2

const absent = (lease: Lease, now: number): Step => {
  if (!isComparable(lease)) return [lease, []]
  const absences = lease.absences + 1
  return absences < ABSENCES_OF_A_LOST_RECORD
    ? heartbeat({ ...lease, absences }, now, true)
    : register({ ...lease, absences: 0 }, "absent", now)
}

const displaced = (lease: Lease, reason: "key_conflict" | "service_gone", now: number): Step => {
  if (!isComparable(lease)) return [lease, []]
  const lost: Lease = { ...disown(lose(lease), now), absences: 0 }
  return register(reason === "key_conflict" ? abandonKey(lost, now) : lost, reason, now)
}

// The answer to a heartbeat in flight is about the former id, and so are the refusals.
const moved = (lease: Lease, now: number): Step => [
  { ...disown(lose(lease), now), nextHeartbeatAt: NEVER, refusals: 0 },
  []
]

const pause = (lease: Lease): Step => [
  {
    ...lease,
    status: "Paused",
    deadline: Number.NEGATIVE_INFINITY,
    nextHeartbeatAt: NEVER,
    nextRegisterAt: NEVER,
    resendAt: NEVER,
    withheld: false,
    deregistering: true,
    resuming: false
  },
  ["Deregister"]
]

const revive = (lease: Lease, now: number): Step => {
  const back: Lease = {
    ...abandonKey(lease, now),
    status: "Registering",
    wanted: "resumed",
    registering: false,
    registeredAt: NEVER,
    setbacks: 0,
    isRetry: false,
    absences: 0,
    resuming: false
  }
  return back.ready ? register(back, "resumed", now) : [back, []]
}

const whilePaused = (lease: Lease, event: Event, now: number): Step => {
  switch (event._tag) {
    case "Pause":
      return [{ ...lease, resuming: false }, []]
    case "Resume":
      return lease.deregistering ? [{ ...lease, resuming: true }, []] : revive(lease, now)
    case "Deregistered": {
      const off: Lease = { ...lease, deregistering: false }
      return lease.resuming ? revive(off, now) : [off, []]
    }
    default:
      return [lease, []]
  }
}

/** One step. `Stop` asks for `Deregister`, and nothing is asked for afterwards; `Stopped` is final. */
export const step = (lease: Lease, event: Event, now: number, random: number): Step => {
  if (lease.status === "Stopped") return [lease, []]
  if (event._tag === "Ended") return [{ ...lease, status: "Stopped" }, []]
  if (lease.status === "Draining") return [lease, []]
  switch (event._tag) {
    case "Stop":
      return [{ ...lease, status: "Draining" }, ["Deregister"]]
    case "Ready":
      return begin(lease, now)
    case "Registered":
      return registered(lease, now)
    case "RegisterFailed":
      return registerFailed(lease, now, random)
    case "Renewed":
    case "Refused":
      return onAnswer(lease, event, now, random)
    case "Healthy":
      return healthy(lease, now)
    case "Unhealthy":
      return [lease.unhealthySince === NEVER ? { ...lease, unhealthySince: now } : lease, []]
    default:
      return lease.status === "Paused" ? whilePaused(lease, event, now) : whileKept(lease, event, now, random)
  }
}

const whileKept = (lease: Lease, event: Event, now: number, random: number): Step => {
  switch (event._tag) {
    case "Tick":
      return tick(lease, now)
    case "HeartbeatOverdue":
      return [awaitsAnswer(lease) ? suspect(lease) : lease, []]
    case "HeartbeatLost":
      return heartbeatLost(lease, now, event.retryInMillis)
    case "HeartbeatWanted":
      return lease.nextHeartbeatAt === NEVER ? [lease, []] : heartbeat(lease, now, true)
    case "Reconnected":
      return reconnected(lease, now, random)
    case "Suspended":
      return suspended(lease, now)
    case "Listed":
      return [lease.absences === 0 ? lease : { ...lease, absences: 0 }, []]
    case "Absent":
      return absent(lease, now)
    case "KeyConflict":
      return displaced(lease, "key_conflict", now)
    case "ServiceGone":
      return displaced(lease, "service_gone", now)
    case "Moved":
      return moved(lease, now)
    case "Pause":
      return lease.registers ? pause(lease) : [lease, []]
    default:
      return [lease, []]
  }
}
