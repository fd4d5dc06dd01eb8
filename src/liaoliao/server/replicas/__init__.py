"""One model in several processes, on one machine or many, behind the same app: `serving.served_replicas` starts them.

A request is placed by `routing`, carried by `front`, which asks another replica if one is lost, and answered by a
`replica`; `on_ray` starts and restarts them, and `wire` and `recipes` are what travels between.
"""
