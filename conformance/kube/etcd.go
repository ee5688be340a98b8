package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

// runEtcd hands over to etcd's own main, which looks at the arguments itself and exits the process on failure.
func runEtcd() int {
	etcdmain.Main(os.Args)
	return 0
}
