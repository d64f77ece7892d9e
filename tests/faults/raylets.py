"""A Ray cluster of several nodes on this machine, told by standard input what to break.

    python raylets.py HEAD_CPUS NODE_CPUS ...

Writes its address, and a line after each command: ``kill-node N``, ``add-node CPUS``, ``kill-gcs``,
``start-gcs``. Ends, with all its processes, when standard input does. Where the control store keeps
its tables is Ray's own environment variables' to say.
"""

import sys

import ray
from ray.cluster_utils import Cluster


def main() -> None:
    head_cpus, *others = (int(word) for word in sys.argv[1:])
    settings = {"include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": head_cpus, **settings})
    nodes = [cluster.add_node(num_cpus=cpus) for cpus in others]
    address = cluster.address
    # A restarted store must be found where the nodes look for it.
    cluster.head_node._ray_params.gcs_server_port = int(address.rpartition(":")[2])
    say(address)
    for line in sys.stdin:
        match line.split():
            case ["kill-node", number]:
                cluster.remove_node(nodes[int(number)], allow_graceful=False)
            case ["add-node", cpus]:
                nodes.append(cluster.add_node(num_cpus=int(cpus)))
            case ["kill-gcs"]:
                cluster.head_node.kill_gcs_server(check_alive=False)
            case ["start-gcs"]:
                cluster.head_node.start_gcs_server()
        say("done")
    cluster.shutdown()
    ray.shutdown()


def say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    main()
