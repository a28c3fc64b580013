-- The outcome of each event: docs/SEMANTICS.md as one SQL statement, written from that text alone.
--
-- In:  table event(n, kind, location, camera, detection, item, time, append_time), one row per element, in
--      the order of the log. kind: detection, heartbeat, malformed. append_time is NULL for files.
--      Variables: out_of_orderness, dedup_horizon, future_tolerance, max_age (NULL: off), camera_ttl,
--      count_from, count_until (NULL: none), window_size, identity ('detection' or 'camera'),
--      watermark_step ('free' or 'bounded').
-- Out: one row per element: n, outcome, conflict, window_start (of counted elements).
--
-- An event's time is compared with its camera's watermark before the event. Only accepted times raise a
-- watermark, and a time that the watermark makes too late never could, so the watermarks need no
-- recursion. The memory of an id does need it: it is folded over the id's copies.
CREATE OR REPLACE TEMP TABLE outcome AS
WITH RECURSIVE
rule AS (
  SELECT getvariable('out_of_orderness')::BIGINT AS out_of_orderness,
         getvariable('dedup_horizon')::BIGINT AS dedup_horizon,
         getvariable('future_tolerance')::BIGINT AS future_tolerance,
         getvariable('max_age')::BIGINT AS max_age,
         getvariable('camera_ttl')::BIGINT AS camera_ttl,
         getvariable('count_from')::BIGINT AS count_from,
         getvariable('count_until')::BIGINT AS count_until,
         getvariable('window_size')::BIGINT AS window_size,
         getvariable('identity') = 'camera' AS by_camera,
         getvariable('watermark_step') = 'bounded' AS bounded
),
-- The rules of the log's clock. They do not apply without append times.
clocked AS MATERIALIZED (
  SELECT event.*,
         coalesce(time > append_time + future_tolerance, false) AS future,
         coalesce(time < append_time - max_age, false) AS too_old
  FROM event, rule
  WHERE kind <> 'malformed'
),
-- The moments of each camera's clock, from its records without append time: a record that has the
-- detection or the time of the one before it is of the same moment.
told AS (
  SELECT n, camera, time, lag(time) OVER before AS time_before,
         coalesce(time <> lag(time) OVER before AND detection <> lag(detection) OVER before,
                  time <> lag(time) OVER before, true) AS begins
  FROM clocked WHERE append_time IS NULL
  WINDOW before AS (PARTITION BY camera ORDER BY n)
),
moment AS (
  SELECT *, count(*) FILTER (WHERE begins) OVER (PARTITION BY camera ORDER BY n) AS moment FROM told
),
-- How far a record moves its camera's watermark: to its own time; where steps are bounded, at most
-- dedup_horizon beyond the last time of the moment before. The first moment moves nothing (NULL).
moved AS MATERIALIZED (
  SELECT clocked.*,
         CASE WHEN NOT bounded OR append_time IS NOT NULL THEN clocked.time
              WHEN reference IS NOT NULL THEN least(clocked.time, reference + dedup_horizon)
         END AS reach
  FROM clocked
       LEFT JOIN (SELECT n, max(time_before) FILTER (WHERE begins)
                              OVER (PARTITION BY camera, moment) AS reference
                  FROM moment) AS step ON step.n = clocked.n,
       rule
),
-- Each camera after each of its readable records: its watermark, when it was last heard, and how often it
-- was silent for longer than camera_ttl (each time its ids are forgotten).
camera AS MATERIALIZED (
  SELECT n, camera, append_time AS heard,
         max(reach) FILTER (WHERE NOT future AND (kind = 'heartbeat' OR NOT too_old)) OVER so_far
           - out_of_orderness AS watermark,
         count(*) FILTER (WHERE silence > camera_ttl) OVER so_far AS silences
  FROM (SELECT *, append_time - lag(append_time) OVER (PARTITION BY camera ORDER BY n) AS silence
        FROM moved), rule
  WINDOW so_far AS (PARTITION BY camera ORDER BY n
                    ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
),
judged AS MATERIALIZED (
  SELECT clocked.*, before.watermark AS watermark,
         CASE WHEN kind = 'heartbeat' THEN 'heartbeat'
              WHEN future THEN 'future'
              WHEN too_old OR coalesce(time < before.watermark - dedup_horizon, false) THEN 'too_late'
              WHEN coalesce(time < count_from, false) OR coalesce(time >= count_until, false)
                THEN 'outside'
         END AS outcome
  FROM clocked
       ASOF LEFT JOIN camera AS before ON clocked.camera = before.camera AND clocked.n > before.n,
       rule
),
-- The events that are remembered; the copies of an id are numbered from 1.
copy AS MATERIALIZED (
  SELECT judged.n, judged.append_time, judged.location, judged.camera, judged.detection, judged.item,
         judged.time, here.silences,
         CASE WHEN by_camera THEN judged.camera ELSE 0 END AS owner,
         row_number() OVER (PARTITION BY judged.detection, owner ORDER BY judged.n) AS k
  FROM judged JOIN camera AS here ON here.n = judged.n, rule
  WHERE outcome IS NULL OR outcome = 'outside'
),
-- For each copy but the first: the state, just before it, of every camera that sent an earlier copy.
known AS MATERIALIZED (
  SELECT later.n, sender.camera, before.watermark, before.silences,
         coalesce(later.append_time - before.heard > camera_ttl, false) AS silent
  FROM copy AS later
       JOIN (SELECT detection, owner, camera, min(k) AS k FROM copy GROUP BY ALL) AS sender
         ON sender.detection = later.detection AND sender.owner = later.owner AND sender.k < later.k
       ASOF JOIN camera AS before ON before.camera = sender.camera AND later.n > before.n,
       rule
),
-- An id is forgotten once its first copy's camera was silent for too long, or that camera's watermark
-- has passed the greatest time of its copies + dedup_horizon. The next copy is then a first one.
memory AS (
  SELECT n, detection, owner, k, camera AS first_camera, location AS first_location,
         item AS first_item, silences AS first_silences, time AS newest, true AS is_first,
         false AS conflict
  FROM copy WHERE k = 1
  UNION ALL
  SELECT copy.n, copy.detection, copy.owner, copy.k,
         if(forgotten, copy.camera, first_camera), if(forgotten, copy.location, first_location),
         if(forgotten, copy.item, first_item), if(forgotten, copy.silences, first_silences),
         if(forgotten, copy.time, greatest(newest, copy.time)), forgotten,
         NOT forgotten AND (copy.camera, copy.location, copy.item)
                           IS DISTINCT FROM (first_camera, first_location, first_item)
  FROM (SELECT memory.*, known.n AS next,
               known.silent OR known.silences <> first_silences
                 OR coalesce(known.watermark > newest + dedup_horizon, false) AS forgotten
        FROM memory
             JOIN copy AS later ON later.detection = memory.detection AND later.owner = memory.owner
                                   AND later.k = memory.k + 1
             JOIN known ON known.n = later.n AND known.camera = first_camera,
             rule) AS memory
       JOIN copy ON copy.n = memory.next
),
decided AS (
  SELECT event.n, event.time, coalesce(memory.conflict, false) AS differs,
         CASE WHEN event.kind = 'malformed' THEN 'malformed'
              WHEN judged.outcome IS NOT NULL THEN judged.outcome
              WHEN memory.is_first THEN 'counted'
              ELSE 'duplicate'
         END AS outcome
  FROM event
       LEFT JOIN judged ON judged.n = event.n
       LEFT JOIN memory ON memory.n = event.n
)
SELECT n, outcome, outcome = 'duplicate' AND differs AS conflict,
       -- floor, also before 1970
       CASE WHEN outcome = 'counted'
            THEN time - (time % window_size + window_size) % window_size
       END AS window_start
FROM decided, rule
