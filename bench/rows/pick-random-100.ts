import { random } from "../../src/core/balancing/Balancing.js"
import { pickRow } from "../support/picking.js"

export default pickRow(random, 100)
