-- Records by ten seconds of broker time, over the last ten minutes before the newest: rows that came and rows refused.
with came as (
    select broker_timestamp, false as is_refused from recent_silver
    union all
    select broker_timestamp, true as is_refused from recent_quarantine
)

select
    time_bucket(interval 10 second, broker_timestamp) as moment,
    count(*) as records,
    count(*) filter (where is_refused) as refused
from came
where broker_timestamp > cast($newest as timestamptz) - interval 10 minute
group by moment
order by moment
