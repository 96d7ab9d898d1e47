import { consistentHash } from "../../src/core/balancing/Balancing.js"
import { pickRow } from "../support/picking.js"

export default pickRow(consistentHash, 10)
