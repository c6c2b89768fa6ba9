-- table:   funnel
-- grain:   event_date × step
-- purpose: how far viewings get: of the sessions that started a title, how many watched a minute, a quarter, half, three
--          quarters, nearly all of it. Only titles with a duration.
-- partition: event_date
-- reads:   playback 0d..0d
-- columns:
--   event_date        date    date of the events (UTC)
--   step              integer 1 to 6, in the order of the steps
--   name              text    started, one minute, quarter, half, three quarters, nearly all (90 %)
--   viewings          bigint  a session's viewings of a title on the date that got there
--   share_of_started  double  viewings ÷ those of step 1
--   share_of_previous double  viewings ÷ those of the step before; null for the first, and where nobody got there
with viewings as (
    select event_date, session_id, title_id, sum(watch_us) as watch_us, max(duration_us) as duration_us
    from playback
    where duration_us is not null
    group by event_date, session_id, title_id
    having sum(plays) > 0
),

steps as (
    select *
    from (
        values
        (1, 'started', 0.0), (2, 'one minute', 0.0), (3, 'quarter', 0.25), (4, 'half', 0.5), (5, 'three quarters', 0.75),
        (6, 'nearly all', 0.9)
    ) as step (step, name, share)
),

counted as (
    select
        viewings.event_date, steps.step, steps.name,
        count(*) filter (
            where watch_us >= share * duration_us and (steps.step = 1 or watch_us >= least(60000000, duration_us))
        ) as reached
    from viewings
    cross join steps
    group by viewings.event_date, steps.step, steps.name
)

select
    event_date, step, name, reached as viewings,
    cast(reached as double) / first_value(reached) over step_order as share_of_started,
    cast(reached as double) / nullif(lag(reached) over step_order, 0) as share_of_previous
from counted
window step_order as (partition by event_date order by step)
