-- Repairs of the null partition that silver's rows tell of, newest first.
select
    strptime(split_part(repair_id, '-', 1), '%Y%m%dT%H%M%SZ') as repaired_at,
    count(*) as rows,
    count(*) filter (where event_date_source = 'payload') as from_payload,
    count(*) filter (where event_date_source = 'broker') as from_broker,
    min(event_date) as first_date,
    max(event_date) as last_date
from silver
where repair_id is not null
group by repair_id
order by repaired_at desc
limit 50
