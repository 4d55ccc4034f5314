// The neighbours whose CRDs tests install. Nothing here is built; go.sum holds what their files must be, also for
// versions that the checksum database does not know.
module dynamo.test/neighbours

go 1.26.0
