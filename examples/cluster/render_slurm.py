#!/usr/bin/env python3
"""Render a corpus on the nodes of a Slurm cluster: starts a Dask scheduler here and submits jobs that are its workers.

    pip install dask-jobqueue
    python examples/cluster/render_slurm.py --jobs 2 --account ACCOUNT --queue QUEUE \\
        --input corpus --destdir data --tokenizer tokenizer.model

The options after those of the jobs are those of scripts/render_corpus.py. Run it where jobs can be submitted and reach
this machine (a login node, or a job of one core), in a folder that all nodes see. Given again, it goes on.
"""

import argparse

from dask_jobqueue import SLURMCluster

from pixelgpt_fairseq.cli.render_corpus import main


def parse():
    """The options of the jobs, and those of render_corpus.py."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="Slurm jobs")
    parser.add_argument("--cores", type=int, default=16, metavar="N", help="of a job, each of which renders")
    parser.add_argument("--memory", default="24GB", metavar="SIZE", help="of a job")
    parser.add_argument("--walltime", default="04:00:00", metavar="TIME", help="of a job")
    parser.add_argument("--queue", metavar="NAME")
    parser.add_argument("--account", metavar="NAME")
    parser.add_argument("--show-job", action="store_true", help="print the script that is submitted, and end")
    return parser.parse_known_args()


if __name__ == "__main__":
    jobs, options = parse()
    with SLURMCluster(
        cores=jobs.cores,
        processes=jobs.cores,  # of one thread each
        memory=jobs.memory,
        walltime=jobs.walltime,
        queue=jobs.queue,
        account=jobs.account,
        job_script_prologue=["export OMP_NUM_THREADS=1"],
    ) as cluster:
        if jobs.show_job:
            print(cluster.job_script())
        else:
            cluster.adapt(minimum_jobs=jobs.jobs, maximum_jobs=jobs.jobs)  # jobs that end are submitted again
            main([*options, "--scheduler", cluster.scheduler_address])
