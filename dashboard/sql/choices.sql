-- What the filters offer besides dates: each country and device with its plays, most plays first (one row).
with countries as (
    select coalesce(country, 'none') as country, sum(plays) as plays from gold.audience_hours group by 1
),

devices as (
    select coalesce(device_type, 'none') as device_type, sum(plays) as plays from gold.audience_hours group by 1
)

select
    coalesce((select list(country order by plays desc, country) from countries), []) as countries,
    coalesce((select list(device_type order by plays desc, device_type) from devices), []) as devices
