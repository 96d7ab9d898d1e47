/** What load balancers of others ask of `Discovery` beyond its public promise. */
import { makePorts } from "../../internal/ports.js"
import type { Discovery } from "../../services/Discovery.js"
import type { Balancers } from "./Balancers.js"

/** Picks within one synchronous step, and the balancer of a service, which tells of each new list. */
export type PickPort = Pick<Balancers, "locate" | "pickNow">

const ports = /*#__PURE__*/ makePorts<Discovery.Service, PickPort>("effect-aio/Discovery/picks")

export const attach = ports.attach

/** `undefined` for a fake, which can pick by an Effect alone. */
export const of = ports.of
