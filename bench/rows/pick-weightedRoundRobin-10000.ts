import { weightedRoundRobin } from "../../src/core/balancing/Balancing.js"
import { pickRow } from "../support/picking.js"

export default pickRow(weightedRoundRobin, 10_000)
