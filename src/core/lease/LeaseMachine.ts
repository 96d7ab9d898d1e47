/**
 * The life of a lease, as a pure state machine: events in, actions out. Every rule of when to heartbeat, when to believe, when
 * to register again and when to give a key up stands here; who sends what, and on which stream, does not.
 *
 * All instants are monotonic milliseconds. `random` is a number from 0 to 1 that the caller draws.
 *
 * ```
 * Registering ──first heartbeat acknowledged──▶ Live ◀──acknowledged── Suspect
 *      ▲ ▲                                 │ └───heartbeat missed───────▲ │
 *      │ └─────────── (never back)         └──deadline, refused──▶ Lost ──acknowledged──▶ Live
 *      │ any but Draining and Stopped ──Pause──▶ Paused
 *      └──────────────Resume───────────────────────┘
 * any but Stopped ──Stop──▶ Draining ──Ended──▶ Stopped
 * ```
 */
import {
  answerTime,
  type Event,
  heartbeatRetryDelay,
  interval,
  isHeld,
  isKept,
  type Lease,
  NEVER,
  type RegisterReason,
  registerDelay,
  type Step
} from "./Lease.js"

/** An instance that has not been well for half a TTL is not kept on the list, until it is well again. */
const isUnwell = (lease: Lease, now: number): boolean => now - lease.unhealthySince > lease.ttl / 2

/** A registration is on its way or due: its own heartbeat follows. */
const awaitsRegistration = (lease: Lease): boolean => lease.registering || lease.nextRegisterAt < NEVER

const suspect = (lease: Lease): Lease => (lease.status === "Live" ? { ...lease, status: "Suspect" } : lease)

const lose = (lease: Lease): Lease =>
  isHeld(lease) ? { ...lease, status: "Lost", deadline: Number.NEGATIVE_INFINITY } : lease

const register = (lease: Lease, wanted: RegisterReason, now: number): Step => {
  // A lease that is held is beaten meanwhile: the registration may take its time, or fail.
  const wanting = {
    ...lease,
    wanted,
    nextRegisterAt: NEVER,
    nextHeartbeatAt: isHeld(lease) ? lease.nextHeartbeatAt : NEVER
  }
  if (isUnwell(lease, now)) return [{ ...wanting, withheld: true }, []]
  return [{ ...wanting, registering: true, keyGivenUp: false }, [lease.keyGivenUp ? "RegisterUnderNewKey" : "Register"]]
}

/** What a heartbeat under the former key is answered must not be taken for an answer to one under the next. */
const giveKeyUp = (lease: Lease): Lease => ({
  ...lease,
  keyGivenUp: true,
  outdated: lease.heartbeatInFlight,
  refusals: 0
})

const heartbeat = (lease: Lease, now: number, outOfTurn: boolean): Step => {
  const due = { ...lease, nextHeartbeatAt: NEVER }
  if (lease.heartbeatInFlight) return [due, []]
  // A heartbeat that is not sent is a heartbeat missed.
  if (isUnwell(lease, now)) return [{ ...suspect(due), withheld: true }, []]
  return [
    { ...due, heartbeatInFlight: true, outOfTurn, missedAt: now + answerTime(lease.ttl, lease.timing) },
    ["Heartbeat"]
  ]
}

/** How much later than planned a heartbeat is out of its turn, as a part of the interval. */
const LATE = 0.1

const tick = (lease: Lease, now: number): Step => {
  const expired = isHeld(lease) && now >= lease.deadline
  const current = expired ? lose(lease) : now >= lease.missedAt ? suspect(lease) : lease
  if (expired && current.registering) return [{ ...current, nextHeartbeatAt: NEVER }, []]
  if (expired && current.registers) return register(current, "expired", now)
  if (now >= current.nextRegisterAt) return register(current, current.wanted ?? "expired", now)
  if (now < current.nextHeartbeatAt) return [current, []]
  const isLate = now - current.nextHeartbeatAt > interval(lease.ttl, lease.timing) * LATE
  return heartbeat(current, now, isLate || current.failures > 0)
}

/** A heartbeat out of its turn is followed by one that brings the lease back to its place among the others. */
const delayAfter = (lease: Lease, random: number): number =>
  interval(lease.ttl, lease.timing) *
  (lease.outOfTurn ? 1 - lease.phase : 1) *
  (1 - lease.timing.heartbeatJitter + lease.timing.heartbeatJitter * random)

/** Heartbeats for which a process is woken together, as steps of an interval: 0.1 s for a TTL of 60 s. */
const STEPS = 200

/** A wake-up costs more than a heartbeat: the heartbeats of many leases fall due at whole steps, and rather sooner than later. */
const together = (at: number, lease: Lease): number => {
  const step = interval(lease.ttl, lease.timing) / STEPS
  return Math.floor(at / step) * step
}

const renewed = (lease: Lease, sentAt: number, now: number, random: number): Step => {
  const deadline = Math.max(lease.deadline, sentAt + lease.ttl)
  const held: Lease = { ...lease, failures: 0, setbacks: 0, registeredSince: false, refusals: 0 }
  // An answer that took longer than the lease proves nothing any more.
  if (now >= deadline) return awaitsRegistration(held) ? [lose(held), []] : heartbeat(lose(held), now, true)
  // What was wanted because the lease was lost is not wanted any more; what the lists show is no matter of heartbeats.
  const wanted = held.wanted === "absent" || held.registering ? held.wanted : undefined
  return [
    {
      ...held,
      status: "Live",
      deadline,
      wanted,
      nextRegisterAt: wanted === undefined ? NEVER : held.nextRegisterAt,
      nextHeartbeatAt: together(sentAt + delayAfter(held, random), held)
    },
    []
  ]
}

/**
 * A server that never revives a key (it was deleted, or deregistered before) accepts its registration and refuses every
 * heartbeat. Two such rounds, with no registration in between that failed, tell it from a heartbeat that lost a race and from a
 * database that is down.
 */
const REFUSALS_OF_A_DEAD_KEY = 2

const refused = (lease: Lease, now: number, random: number): Step => {
  const lost: Lease = {
    ...lose(lease),
    nextHeartbeatAt: NEVER,
    failures: 0,
    setbacks: lease.setbacks + 1,
    refusals: lease.registeredSince ? lease.refusals + 1 : lease.refusals
  }
  if (lost.registering) return [lost, []]
  if (!lost.registers)
    return [{ ...lost, nextHeartbeatAt: now + registerDelay(lease.setbacks, random, lease.timing) }, []]
  if (lost.refusals >= REFUSALS_OF_A_DEAD_KEY) return register(giveKeyUp(lost), "dead_key", now)
  // The first rounds at once, so that the instance is found again within moments; then as slowly as any failure.
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

const heartbeatLost = (lease: Lease, now: number, random: number): Step => {
  const delay = heartbeatRetryDelay(lease.ttl, lease.failures, random, lease.timing)
  return [
    {
      ...suspect(lease),
      failures: lease.failures + 1,
      nextHeartbeatAt: awaitsRegistration(lease) && !isHeld(lease) ? NEVER : now + delay
    },
    []
  ]
}

const onAnswer = (
  lease: Lease,
  event: Extract<Event, { readonly _tag: "Renewed" | "Refused" | "HeartbeatLost" }>,
  now: number,
  random: number
): Step => {
  const landed: Lease = { ...lease, heartbeatInFlight: false, missedAt: NEVER, outdated: false }
  if (!isKept(lease)) return [landed, []]
  if (lease.outdated) {
    return awaitsRegistration(landed) && !isHeld(landed) ? [landed, []] : heartbeat(landed, now, true)
  }
  switch (event._tag) {
    case "Renewed":
      return renewed(landed, event.sentAt, now, random)
    case "Refused":
      return refused(landed, now, random)
    case "HeartbeatLost":
      return heartbeatLost(landed, now, random)
  }
}

const registered = (lease: Lease, now: number): Step => {
  const done: Lease = { ...lease, registering: false }
  return isKept(lease)
    ? heartbeat({ ...done, wanted: undefined, nextRegisterAt: NEVER, registeredSince: true, absences: 0 }, now, true)
    : [done, []]
}

const registerFailed = (lease: Lease, now: number, random: number): Step => {
  const failed: Lease = { ...lease, registering: false }
  if (!isKept(lease)) return [failed, []]
  // Acknowledged meanwhile, and so not lost after all.
  if (failed.status === "Live" && (failed.wanted === "expired" || failed.wanted === "refused")) {
    return [{ ...failed, wanted: undefined }, []]
  }
  return [
    {
      ...failed,
      setbacks: lease.setbacks + 1,
      // A server that cannot register is a server in trouble: its refusals say nothing against the key.
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

const reconnected = (lease: Lease, now: number, random: number): Step => {
  const sooner = (at: number) => (at === NEVER ? NEVER : Math.min(at, now + lease.timing.reconnectDelay * random))
  const isRetry = lease.failures > 0 || !isHeld(lease)
  return [
    {
      ...lease,
      nextHeartbeatAt: isRetry ? sooner(lease.nextHeartbeatAt) : lease.nextHeartbeatAt,
      nextRegisterAt: sooner(lease.nextRegisterAt)
    },
    []
  ]
}

// By monotonic time the lease may have long to run, and by the server's it may be over: only an answer can tell, and none
// to what was sent before.
const suspended = (lease: Lease, now: number): Step => {
  const doubted: Lease = { ...suspect(lease), outdated: lease.heartbeatInFlight }
  return isHeld(lease) ? heartbeat(doubted, now, true) : [doubted, []]
}

const healthy = (lease: Lease, now: number): Step => {
  const well: Lease = { ...lease, unhealthySince: NEVER, withheld: false }
  if (!lease.withheld || !isKept(lease)) return [well, []]
  // Nothing may have been due since the deadline.
  const current = isHeld(well) && now >= well.deadline ? lose(well) : well
  if (isHeld(current) || !current.registers) return heartbeat(current, now, true)
  if (awaitsRegistration(current)) return [current, []]
  return register(current, current.wanted ?? "expired", now)
}

/** What the registry's list says counts only while we believe to stand on it, and are not about to register anyway. */
const isComparable = (lease: Lease): boolean => isHeld(lease) && lease.registers && !awaitsRegistration(lease)

/** Looks in a row that find nothing: a flushed cache shows only who has beaten since, and so the first asks for a heartbeat. */
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
  const lost: Lease = { ...lose(lease), outdated: lease.heartbeatInFlight, absences: 0 }
  return register(reason === "key_conflict" ? giveKeyUp(lost) : lost, reason, now)
}

const pause = (lease: Lease): Step => [
  {
    ...lease,
    status: "Paused",
    deadline: Number.NEGATIVE_INFINITY,
    nextHeartbeatAt: NEVER,
    nextRegisterAt: NEVER,
    missedAt: NEVER,
    withheld: false,
    deregistering: true,
    resuming: false
  },
  ["Deregister"]
]

const revive = (lease: Lease, now: number): Step => {
  const back: Lease = {
    ...giveKeyUp(lease),
    status: "Registering",
    wanted: "resumed",
    registering: false,
    registeredSince: false,
    setbacks: 0,
    failures: 0,
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

/** One step. After `Stop` nothing but `Deregister` is asked for; `Stopped` is final. */
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
    case "HeartbeatLost":
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
    case "Pause":
      return lease.registers ? pause(lease) : [lease, []]
    default:
      return [lease, []]
  }
}
