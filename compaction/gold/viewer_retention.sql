-- table:   viewer_retention
-- grain:   date with events
-- purpose: how many viewers a date, week and month had, and how many of them came back.
-- reads:   gold/viewer_days
-- columns:
--   event_date       date    the date (UTC)
--   daily_viewers    bigint  distinct profiles with any event on the date
--   weekly_viewers   bigint  on the date or one of the 6 before
--   monthly_viewers  bigint  on the date or one of the 27 before
--   returning_viewers bigint of the daily ones, seen on one of the 27 dates before
--   new_viewers      bigint  of the daily ones, not seen on any of those
--   stickiness       double  daily_viewers ÷ monthly_viewers
--   retained_day_1   double  share of the viewers of the date before who are there again; null without any
--   retained_day_7   double  share of the viewers of the date a week before who are there again; null without any
with followed as (
    select
        event_date, viewer_key,
        coalesce(lag(event_date) over viewer_order >= event_date - interval 27 day, false) as is_returning,
        lead(event_date) over viewer_order as next_date
    from viewer_days
    window viewer_order as (partition by viewer_key order by event_date)
),

daily as (
    select
        event_date,
        count(*) as daily_viewers,
        count(*) filter (where is_returning) as returning_viewers,
        count(*) filter (where next_date = event_date + interval 1 day) as there_next_day
    from followed
    group by event_date
),

-- A viewer counts for a week from each date on, until the next date: each day of it once.
spells as (
    select
        viewer_key, event_date,
        least(coalesce(next_date, date '9999-12-31'), cast(event_date + interval 7 day as date)) as week_end,
        least(coalesce(next_date, date '9999-12-31'), cast(event_date + interval 28 day as date)) as month_end
    from followed
),

steps as (
    select event_date, 1 as week_step, 1 as month_step from spells
    union all
    select week_end, -1, 0 from spells
    union all
    select month_end, 0, -1 from spells
),

levels as (
    select
        event_date,
        sum(sum(week_step)) over (order by event_date) as weekly_viewers,
        sum(sum(month_step)) over (order by event_date) as monthly_viewers
    from steps
    group by event_date
),

week_later as (
    select now.event_date, count(*) as there_again
    from viewer_days as past
    inner join viewer_days as now
        on past.viewer_key = now.viewer_key and now.event_date = past.event_date + interval 7 day
    group by now.event_date
)

select
    daily.event_date,
    daily.daily_viewers,
    levels.weekly_viewers,
    levels.monthly_viewers,
    daily.returning_viewers,
    daily.daily_viewers - daily.returning_viewers as new_viewers,
    cast(daily.daily_viewers as double) / levels.monthly_viewers as stickiness,
    cast(before.there_next_day as double) / before.daily_viewers as retained_day_1,
    cast(coalesce(week_later.there_again, 0) as double) / week_before.daily_viewers as retained_day_7
from daily
inner join levels on daily.event_date = levels.event_date
left join daily as before on daily.event_date = before.event_date + interval 1 day
left join daily as week_before on daily.event_date = week_before.event_date + interval 7 day
left join week_later on daily.event_date = week_later.event_date
order by daily.event_date
