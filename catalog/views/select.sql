/*
description = "The best candidates of each question, of any temperature and domain; what `dasd-data select` writes"
config = "select"
key = ["response_id"]
contract = { extends = "split" }
*/
SELECT * FROM split ORDER BY response_id
