import { roundRobin } from "../../src/core/balancing/Balancing.js"
import { pickRow } from "../support/picking.js"

export default pickRow(roundRobin, 100)
